//! What stops a build.

use std::path::PathBuf;

use zuwai_context::ContextError;
use zuwai_context::remote::RemoteError;
use zuwai_dockerfile::{Diagnostics, Span};
use zuwai_layer::error::LayerError;
use zuwai_oci::error::{FormatError, OciError};
use zuwai_oci::media_type::Family;
use zuwai_oci::reference::Reference;
use zuwai_rootfs::error::RootfsError;
use zuwai_rootfs::run_error::RunError;

use crate::plan::ImageKey;
use crate::ssh::SshError;

/// Why a build stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile {path}", path = path.display())]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The Dockerfile is longer than any Dockerfile is.
    #[error("the Dockerfile {path} is longer than {limit} bytes", path = path.display())]
    DockerfileTooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The Dockerfile is wrong.
    #[error(transparent)]
    Dockerfile(#[from] Diagnostics),
    /// A build argument that speaks to the builder is not what it must be.
    #[error("invalid {name}: {value:?} is not {expected}")]
    BuilderArg {
        /// The argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// No stage has the name of `--target`.
    #[error("target stage {target:?} could not be found: {}", stages(known))]
    UnknownTarget {
        /// What was asked for.
        target: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A step failed; the place and the step's text are in `at`.
    #[error("{at}")]
    Step {
        /// The Dockerfile's line.
        at: Diagnostics,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// An ONBUILD trigger of a base failed.
    #[error("the base's trigger failed: {text}")]
    Trigger {
        /// The trigger.
        text: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// What a place in the Dockerfile asks for cannot be had.
    #[error("{at}")]
    At {
        /// The Dockerfile's line.
        at: Diagnostics,
        /// Why.
        #[source]
        source: Box<BuildError>,
    },
    /// An image cannot be had for a stage or a COPY.
    #[error("cannot get image {} for {}", image.source, image.platform)]
    Image {
        /// The image and the platform.
        image: Box<ImageKey>,
        /// Why.
        #[source]
        source: Box<OciError>,
    },
    /// The files of a named context cannot be taken as a base.
    #[error("cannot use the files of the build context {context:?}")]
    Files {
        /// The context's name.
        context: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// An image's layer cannot be unpacked.
    #[error("cannot unpack layer {number} of {total} of {image}")]
    Unpack {
        /// The image.
        image: String,
        /// The layer, from 1.
        number: usize,
        /// How many there are.
        total: usize,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The destination refuses pushes, as was found before building.
    #[error(
        "checking push permissions: make sure you entered the correct tag name, and that you are authenticated correctly, and try again"
    )]
    PushPermission {
        /// Why.
        #[source]
        source: Box<OciError>,
    },
    /// An image that is to be moved cannot be had.
    #[error("cannot read the image {place}")]
    Source {
        /// Where it should be.
        place: String,
        /// Why.
        #[source]
        source: Box<OciError>,
    },
    /// An archive does not say where its image is to be pushed.
    #[error("{place} has {}", own_names(names))]
    OwnName {
        /// The archive.
        place: String,
        /// The names it gives the image.
        names: Vec<String>,
    },
    /// The image cannot have the format that was asked for.
    #[error("cannot put the image into the format {family}")]
    Format {
        /// The format.
        family: Family,
        /// Why.
        #[source]
        source: FormatError,
    },
    /// The image cannot be pushed.
    #[error("failed to push to destination {reference}")]
    Push {
        /// The destination.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: Box<OciError>,
    },
    /// An archive or layout cannot be written.
    #[error("cannot write the image to {path}", path = path.display())]
    Archive {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<OciError>,
    },
    /// A file that was asked for cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The state directory cannot be made or used.
    #[error("cannot use {path} for the build's state", path = path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The build context cannot be used.
    #[error("cannot use the build context")]
    Context(#[from] ContextError),
    /// The place where commands run cannot be had.
    #[error("cannot settle where commands run")]
    Isolation(#[source] RunError),
    /// Nothing can be built in the container's own `/`.
    #[error(transparent)]
    Preflight(#[from] zuwai_rootfs::in_place::PreflightError),
    /// The container's own files cannot be moved aside, or back.
    #[error(transparent)]
    InPlace(#[from] zuwai_rootfs::in_place::InPlaceError),
    /// The store of blobs failed.
    #[error("cannot store the image's blobs")]
    Store(#[from] OciError),
    /// The finished image does not hold together.
    #[error("cannot put the image together")]
    Assemble(#[from] FormatError),
    /// The one layer of a stage cannot be made (`--single-snapshot`).
    #[error("cannot make the layer of stage {stage}")]
    SingleLayer {
        /// Its name or number.
        stage: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// Trees of stages cannot be moved or removed.
    #[error("cannot change stages")]
    Tree(#[from] RootfsError),
    /// The build was told to stop.
    #[error("the build was stopped")]
    Interrupted(#[source] RunError),
    /// The network's threads cannot be started.
    #[error("cannot start the network's threads")]
    Runtime(#[source] std::io::Error),
}

/// What an archive says of its image's names.
fn own_names(names: &[String]) -> String {
    match names {
        [] => "no name that says where to push the image".to_owned(),
        names => format!("several names: {}", names.join(", ")),
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A command ran and failed.
    #[error("failed to execute command: waiting for process to exit: {}", ending(*exit_code, *signal))]
    Failed {
        /// The code as a shell would say it.
        exit_code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// A command could not be run.
    #[error("failed to execute command")]
    Run(#[from] RunError),
    /// Files could not be copied, unpacked or looked at.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A layer could not be read or written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer could not be stored or fetched.
    #[error(transparent)]
    Store(#[from] OciError),
    /// A layer unpacks to something else than the image's configuration says.
    #[error("the layer's content has digest {actual}, the image's configuration says {expected}")]
    DiffId {
        /// The diff ID in the configuration.
        expected: zuwai_layer::Digest,
        /// The digest of what came.
        actual: zuwai_layer::Digest,
    },
    /// A step asks for what its flags do not allow.
    #[error("{0}")]
    Invalid(String),
    /// A command's output cannot be brought to where it belongs.
    #[error("cannot pass on the command's output")]
    Output(#[source] std::io::Error),
    /// A stage's tree is gone, which the plan's order forbids.
    #[error("the stage has no file system tree")]
    NoTree,
    /// There is no build context to copy from.
    #[error("there is no build context to copy from")]
    NoContext,
    /// An image that files are copied from could not be had.
    #[error(transparent)]
    Build(Box<BuildError>),
    /// What a mount of RUN asks for cannot be had.
    #[error("cannot mount this")]
    Mount {
        /// The flag's place in the Dockerfile.
        span: Option<Span>,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// What is to be mounted is not there.
    #[error("{path:?}: not found")]
    NoSource {
        /// The path in its tree.
        path: String,
    },
    /// A secret that a RUN requires was not given.
    #[error("secret {id}: not found")]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// An SSH agent that a RUN requires was not given.
    #[error("unset ssh forward key {id}")]
    NoSshAgent {
        /// Its name.
        id: String,
    },
    /// An SSH agent cannot be served.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A source of ADD that is elsewhere cannot be had.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A part of the build context cannot be shown to a command.
    #[error("cannot make a part of the build context in {path}", path = path.display())]
    Context {
        /// Where it was to be.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A checkout of a git repository cannot be read.
    #[error("cannot read the checkout in {path}", path = path.display())]
    Checkout {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The directory of a cache mount cannot be used.
    #[error("cannot use the cache mount in {path}", path = path.display())]
    Cache {
        /// The directory or lock file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}

impl BuildError {
    /// The program's exit code: a failing command's own, else 1.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Step { source, .. } | Self::Trigger { source, .. } => match &**source {
                StepError::Failed { exit_code, .. } => *exit_code,
                StepError::Run(error) => interrupted(error),
                _ => 1,
            },
            Self::Interrupted(error) => interrupted(error),
            _ => 1,
        }
    }
}

fn interrupted(error: &RunError) -> i32 {
    match error {
        RunError::Interrupted { signal } => 128 + signal,
        _ => 1,
    }
}

fn ending(exit_code: i32, signal: Option<i32>) -> String {
    match signal {
        Some(9) => "signal: killed (exit status 137), often for want of memory".to_owned(),
        Some(signal) => format!("signal {signal} (exit status {exit_code})"),
        // What a shell says when the program that it ran was killed.
        None if exit_code == 137 => {
            "exit status 137: a program was killed, often for want of memory".to_owned()
        }
        None => format!("exit status {exit_code}"),
    }
}

fn stages(known: &[String]) -> String {
    if known.is_empty() {
        "no stage has a name".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    }
}
