//! The one place that starts a build, and what all faces fill into a request the same way.

use jiff::Timestamp;
use zuwai_build::BuildResult;
use zuwai_build::request::BuildRequest;
use zuwai_oci::reference::Reference;

use crate::error::ProgramError;
use crate::failure::Failure;

/// Builds.
///
/// # Errors
/// When the build fails.
pub fn build(request: &BuildRequest) -> Result<BuildResult, Failure> {
    zuwai_build::build(request).map_err(Failure::from)
}

/// The time, in seconds since 1970.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// How many threads are worth having.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A name the image gets: one with a tag, not one fixed by a digest, which nobody can know before the build.
///
/// # Errors
/// When the text is no such name.
pub fn name_for(flag: &'static str, text: &str) -> Result<Reference, ProgramError> {
    let name = Reference::parse(text).map_err(|source| ProgramError::Reference { flag, source })?;
    if name.digest().is_some() {
        return Err(ProgramError::NameWithDigest { flag, name: text.to_owned() });
    }
    Ok(name)
}
