//! Short digests of contents.
/// Short digests of contents.
#[derive(Debug, Default)]
pub struct Fingerprints {}
