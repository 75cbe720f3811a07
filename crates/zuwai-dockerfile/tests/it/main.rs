//! The language from outside: golden trees, expansion tables, error texts, and properties that hold for any input.

mod expansion;
mod goldens;
mod mistakes;
mod properties;
mod stages;
mod values;
