//! Whether the image can have the format that was asked for, found out before anything is built.

use zuwai_oci::package::layers_in_family;

use crate::error::BuildError;
use crate::images::RegistryImages;
use crate::plan::{Base, Plan};
use crate::request::BuildRequest;

/// Looks at the layers that the image has from its base. They are never compressed anew, which would need all of them
/// here, and give other images than the base's for the same files.
///
/// # Errors
/// When one of them is not of the format.
pub fn check(request: &BuildRequest, plan: &Plan, images: &RegistryImages<'_>) -> Result<(), BuildError> {
    let mut base = plan.target().map(|stage| &stage.base);
    while let Some(Base::Stage(position)) = base {
        base = Some(&plan.stages[*position].base);
    }
    let Some(Base::Image(image)) = base else { return Ok(()) };
    let family = request.family;
    match layers_in_family(family, images.get(image)?.layers()) {
        Ok(_) => Ok(()),
        Err(source) => Err(BuildError::Format { family, source }),
    }
}
