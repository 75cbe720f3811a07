//! The Dockerfile language: text in, syntax tree with byte spans and diagnostics out.
//!
//! The crate takes what BuildKit's Dockerfile frontend takes and words its errors as BuildKit words them where users
//! know the words. It does no input or output, reads no clock and no environment, and knows nothing of images: what a
//! variable's value is comes in through [`expand::Lookup`], what an instruction does is the solver's matter.
//!
//! Modules in reading order:
//! - [`source`]: the text of one Dockerfile, spans in it, lines and columns
//! - [`diagnostic`] and [`error`]: what can be wrong and how it is shown
//! - [`limits`]: the bounds that hold against hostile input
//! - [`ast`]: the tree: directives, stages, instructions, words
//! - `directive`, `line`, `lex`, `json`, [`heredoc`]: from text to logical lines, flags and words
//! - `flag`, [`mount`], `duration`, `suggest`: the values inside flags
//! - `instruction` and [`parse`]: from logical lines to the tree
//! - [`expand`], [`pattern`], [`resolve`]: variables
//! - [`stage`], [`predefined`]: what the language alone says about stages and about arguments nobody declares
//! - [`redact`]: passwords kept out of what is shown
//! - [`lint`]: BuildKit's build checks, under BuildKit's names for them

pub mod ast;
pub mod diagnostic;
mod directive;
mod duration;
pub mod error;
pub mod expand;
mod flag;
pub mod heredoc;
mod instruction;
mod json;
mod lex;
pub mod limits;
mod line;
pub mod lint;
pub mod mount;
pub mod parse;
pub mod pattern;
pub mod predefined;
pub mod redact;
pub mod resolve;
pub mod source;
pub mod stage;
mod suggest;

pub use ast::{Dockerfile, Instruction, InstructionKind, Stage, Word};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use error::ExpandError;
pub use expand::{Expander, Lookup};
pub use parse::{parse, parse_onbuild};
pub use source::{Position, Source, Span};
