//! What goes wrong between asking for a command and its end.

use std::io;
use std::path::PathBuf;

use crate::error::RootfsError;

/// Why a command could not be run, or not to its end. A command that ran and failed is no error but an
/// [`Outcome`](crate::run::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The user of the command is not to be found in the image.
    #[error(transparent)]
    User(#[from] crate::passwd::UserError),
    /// The command itself could not be started.
    #[error(transparent)]
    Start(#[from] crate::command::StartError),
    /// Building in place was asked for, or is all that is left, and this is no container.
    #[error(
        "building in place replaces this system's own files, so zuwai should only be run inside of a container, run with \
         the --force flag if you are sure you want to continue"
    )]
    NotInContainer {
        /// Why namespaces were not taken, where they were tried.
        #[source]
        namespaces: Option<Box<RunError>>,
    },
    /// Namespaces were asked for and cannot be had.
    #[error("commands cannot run in namespaces here: {reason}")]
    NamespacesRefused {
        /// The step that failed and how.
        reason: String,
    },
    /// A command is to have no network, and runs in place, where it has the container's.
    #[error(
        "a RUN without a network (--network=none) needs namespaces, and commands run in place here: build where \
         namespaces can be had (the log says why they cannot), or with --network=default"
    )]
    NetworkInPlace,
    /// A view of layers was given to run in, without an upper directory for what the command writes.
    #[error("{path}: this is a view of layers, and the command was given nowhere to write to", path = path.display())]
    NowhereToWrite {
        /// The view's name.
        path: PathBuf,
    },
    /// A step of setting up the sandbox failed.
    #[error("cannot set up the sandbox: {step}: {error}")]
    Sandbox {
        /// What was being done.
        step: String,
        /// What the system answered, in its words.
        error: String,
    },
    /// The process that holds the sandbox could not be started or talked to.
    #[error("cannot {doing} the sandbox process")]
    Helper {
        /// The verb: start, write to, read from.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The process that holds the sandbox ended without a report: killed, most often for want of memory.
    #[error("the sandbox process ended without a report ({status})")]
    HelperGone {
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The build was told to stop while the command ran.
    #[error("stopped by signal {signal}")]
    Interrupted {
        /// The number of the signal.
        signal: i32,
    },
    /// The command's result is of no use any more: another part of the build has failed.
    #[error("stopped because another stage failed")]
    Abandoned,
    /// A file of the system that is needed to run commands cannot be read or written.
    #[error("cannot {doing} {path}", path = path.display())]
    File {
        /// The verb.
        doing: &'static str,
        /// The file, outside the image.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// What the command sees besides its root could not be placed in it, or taken away.
    #[error(transparent)]
    Placement(#[from] crate::placement::PlacementError),
    /// The root file system could not be read.
    #[error(transparent)]
    Root(#[from] Box<RootfsError>),
}

impl From<RootfsError> for RunError {
    fn from(error: RootfsError) -> Self {
        Self::Root(Box::new(error))
    }
}
