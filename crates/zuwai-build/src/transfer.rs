//! Images from one place to another, without a build: what `push`, `pull`, `copy` and `inspect` do.
//!
//! What is moved is a [`Package`]: the bytes of every document that a name stands for, so that digests stay what they
//! are, unless another format is asked for. Blobs go from registry to registry without a stop, and out of archives and
//! layouts only after they were checked.
//!
//! - [`source`]: where an image comes from, and bringing it in
//! - [`destination`]: where it goes
//! - [`inspection`]: what is known of it

pub mod destination;
pub mod inspection;
pub mod session;
pub mod source;

use std::path::PathBuf;

use zuwai_layer::Digest;
use zuwai_oci::media_type::Family;
use zuwai_oci::package::Package;
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::RegistryOptions;
use zuwai_rootfs::signals::Interrupt;

use self::session::Session;
use self::source::{Loaded, Source};
use crate::error::BuildError;
use crate::request::Outputs;

/// What is to be moved, and where to.
#[derive(Debug)]
pub struct TransferRequest {
    /// Where the image is.
    pub source: Source,
    /// Which image of an index; all of it if `None`.
    pub platform: Option<Platform>,
    /// The format it is to have; its own if `None`.
    pub family: Option<Family>,
    /// Where it goes; to the registry of its own name, which an archive may tell, if nothing is named.
    pub outputs: Outputs,
    /// How registries are reached.
    pub registry: RegistryOptions,
    /// Directory for what must be kept on disk meanwhile; made if it is needed.
    pub root_dir: PathBuf,
    /// The number of threads for compression.
    pub threads: usize,
}

/// What was moved.
#[derive(Debug)]
pub struct Transferred {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The names it has now.
    pub names: Vec<Reference>,
}

/// Moves an image.
///
/// # Errors
/// When it cannot be had, is damaged, or a place does not take it. Nothing is pushed of what is found to be damaged.
pub fn transfer(request: &TransferRequest, interrupt: &Interrupt) -> Result<Transferred, BuildError> {
    let session = Session::start(&request.registry, &request.root_dir, interrupt)?;
    session.settle(moved(request, &session))
}

fn moved(request: &TransferRequest, session: &Session<'_>) -> Result<Transferred, BuildError> {
    let outputs = &request.outputs;
    request.source.check_place()?;
    check_permission(outputs, &outputs.push, session)?;
    let mut loaded = request.source.load(request, session)?;
    if let Some(family) = request.family {
        loaded.package = in_family(&loaded.package, family)?;
    }
    let own = if outputs.is_nowhere() { own_name(&loaded, &request.source)? } else { Vec::new() };
    check_permission(outputs, &own, session)?;
    let push: Vec<Reference> = outputs.push.iter().chain(&own).cloned().collect();
    destination::write(outputs, &push, &loaded, session)?;
    let names = push.into_iter().chain(outputs.names.iter().cloned()).collect();
    Ok(Transferred { digest: loaded.package.digest(), names })
}

fn check_permission(outputs: &Outputs, push: &[Reference], session: &Session<'_>) -> Result<(), BuildError> {
    if !outputs.check_push_permission {
        return Ok(());
    }
    for reference in push {
        session
            .run(session.registry.check_push_permission(reference))?
            .map_err(|source| BuildError::PushPermission { source: Box::new(source) })?;
    }
    Ok(())
}

/// The name that an archive gives its image.
fn own_name(loaded: &Loaded, source: &Source) -> Result<Vec<Reference>, BuildError> {
    match loaded.names.as_slice() {
        [name] => Ok(vec![name.clone()]),
        names => Err(BuildError::OwnName {
            place: source.to_string(),
            names: names.iter().map(Reference::familiar).collect(),
        }),
    }
}

fn in_family(package: &Package, family: Family) -> Result<Package, BuildError> {
    let converted = package.in_family(family).map_err(|source| BuildError::Format { family, source })?;
    if converted.attestations > 0 {
        tracing::warn!(
            "the format {family} has no attestations: {} manifests of the index were left out",
            converted.attestations
        );
    }
    Ok(converted.package)
}
