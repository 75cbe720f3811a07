//! What the fuzz targets check, each for any input. The crates' own tests check the same of the kept corpus: they
//! include these modules by path.

pub mod dockerignore;
pub mod expand;
pub mod input;
pub mod moby;
pub mod mount;
pub mod parse;
pub mod spans;
