//! Tags that a registry does not let anybody move (`--push-ignore-immutable-tag-errors`).

use zuwai_layer::Digest;
use zuwai_oci::error::OciError;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::Registry;

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The tag names what was pushed.
    There,
    /// The tag names something else and stays so, which is no error for the user.
    Ignored,
}

/// Takes what a registry said to a push. That a tag cannot be moved is no error where it names what was pushed already, and
/// where the user asked for that.
///
/// # Errors
/// Any other refusal.
pub async fn unless_immutable(
    pushed: Result<(), OciError>,
    registry: &Registry,
    reference: &Reference,
    digest: Digest,
    ignore: bool,
) -> Result<Pushed, OciError> {
    let error = match pushed {
        Ok(()) => return Ok(Pushed::There),
        Err(error) if error.is_immutable_tag() => error,
        Err(error) => return Err(error),
    };
    // That the tag cannot be looked at either says less than what the push said.
    if let Ok(Some(there)) = registry.tag_digest(reference).await
        && there == digest
    {
        tracing::info!("{} names this image already, and cannot be moved", reference.familiar());
        return Ok(Pushed::There);
    }
    if !ignore {
        return Err(error);
    }
    tracing::debug!("{error}");
    tracing::info!("Immutable tag error ignored for {}", reference.familiar());
    Ok(Pushed::Ignored)
}
