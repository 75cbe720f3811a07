//! The program as its users meet it: what it prints for help and for mistakes, and its exit codes.

mod help;
mod mistakes;
mod program;
