//! What goes wrong before a build begins, and around it.

use std::path::PathBuf;

use crate::build_contexts::BuildContextError;
use crate::logging::LogError;
use crate::login_command::LoginError;
use crate::pflag::FlagError;
use crate::secrets::SecretError;
use crate::ssh::SshFlagError;

/// Why the program ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line does not fit the command's flags.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// Logging cannot be as it was asked for.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Known, but its work belongs to a later version.
    #[error("{0} is not supported yet")]
    NotSupported(String),
    /// No such command.
    #[error("unknown command {command:?} for {face:?}")]
    UnknownCommand {
        /// What was typed.
        command: String,
        /// The command it was typed after.
        face: &'static str,
    },
    /// Another number of arguments than the command takes.
    #[error("{command:?} takes {expected}{}", if given.is_empty() { String::new() } else { format!(", not {}: {}", given.len(), given.join(" ")) })]
    Arguments {
        /// The command.
        command: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it got.
        given: Vec<String>,
    },
    /// Neither where to push nor that nothing shall be pushed. kaniko's words.
    #[error("you must provide --destination, or use --no-push")]
    NoDestination,
    /// `--image-name-with-digest-file` or the like without a name. kaniko's words, but for the flag.
    #[error("you must provide --destination if setting --{0}")]
    NoDestinationFor(&'static str),
    /// `--materialize` with a root that is gone after the build.
    #[error(
        "--materialize leaves the image's files in this container's /, where only a build in place has them: leave out \
         --isolation=namespaces"
    )]
    MaterializeInNamespaces,
    /// `zuwai build --push` without `-t`.
    #[error("there is no name to push the image to")]
    NoNameToPush,
    /// A context that is not there or cannot be read.
    #[error("cannot use {path} as the build context", path = path.display())]
    Context {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An empty `--context`. kaniko's words.
    #[error("please specify a path to the build context with the --context flag")]
    NoContext,
    /// A `--context-sub-path` that leads out of the context.
    #[error("--context-sub-path {0:?} leads out of the context")]
    SubPath(String),
    /// No Dockerfile at any of the places where it may be.
    #[error(
        "there is no Dockerfile at {}",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or at ")
    )]
    NoDockerfile {
        /// The places, in order.
        looked_at: Vec<PathBuf>,
    },
    /// Standard input cannot be read.
    #[error("cannot read {0} from standard input")]
    StandardInput(&'static str, #[source] std::io::Error),
    /// A Dockerfile on standard input that does not end.
    #[error("the Dockerfile on standard input is larger than {0} MiB")]
    DockerfileTooLarge(u64),
    /// Both context and Dockerfile on standard input.
    #[error("standard input cannot be both the context and the Dockerfile")]
    StandardInputTwice,
    /// A name of an image that is none.
    #[error("invalid image name for {flag}")]
    Reference {
        /// The flag that gave it.
        flag: &'static str,
        /// What is wrong with it.
        #[source]
        source: zuwai_oci::reference::ReferenceError,
    },
    /// A place of an image that is none.
    #[error("{text:?} {problem}")]
    Place {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Layers that Docker's format does not have.
    #[error(
        "images in Docker's format have no zstd layers: leave out --compression=zstd, or take the format oci"
    )]
    ZstdInDocker,
    /// Two flags that cannot both be.
    #[error("{one} and {other} are two different things to print")]
    Contradiction {
        /// One of them.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// What is no image has no configuration.
    #[error("{0} is no image, and has no configuration")]
    NoConfig(String),
    /// A name fixed by a digest where a tag is wanted.
    #[error("invalid image name for {flag}: {name:?} has a digest, which is known only after the build")]
    NameWithDigest {
        /// The flag that gave it.
        flag: &'static str,
        /// The name.
        name: String,
    },
    /// A platform that is none.
    #[error("invalid value for {flag}")]
    Platform {
        /// The flag that gave it.
        flag: &'static str,
        /// What is wrong with it.
        #[source]
        source: zuwai_oci::platform::PlatformError,
    },
    /// A `--secret` that cannot be read.
    #[error("cannot use --secret")]
    Secret(#[from] SecretError),
    /// An `--ssh` whose socket or keys cannot be used.
    #[error("cannot use --ssh")]
    Ssh(#[from] SshFlagError),
    /// A `--build-context` that cannot be used.
    #[error(transparent)]
    BuildContext(#[from] BuildContextError),
    /// A label without a name.
    #[error("invalid label {0:?}: its name is missing")]
    Label(String),
    /// A build argument without a name.
    #[error("invalid build argument {0:?}: its name is missing")]
    BuildArgument(String),
    /// A `-o` that cannot be read.
    #[error("invalid argument {value:?} for \"-o, --output\" flag: {reason}")]
    Output {
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no place for the builder's files.
    #[error("there is no place to keep files in: neither --root-dir nor XDG_DATA_HOME nor HOME is set")]
    NoRootDirectory,
    /// A build context cannot be used, or its ignore file cannot.
    #[error(transparent)]
    Ignore(#[from] zuwai_context::ContextError),
    /// A build context cannot be read.
    #[error(transparent)]
    ReadContext(#[from] zuwai_rootfs::RootfsError),
    /// A `--credential-helpers` that there is not.
    #[error("unknown credential helper {name:?}, there are: {}", known.join(", "))]
    CredentialSource {
        /// What was typed.
        name: String,
        /// What there is.
        known: &'static [&'static str],
    },
    /// What a flag says of registries cannot be used.
    #[error("cannot use {flag} {value:?}: {problem}")]
    RegistryFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A login that is not even tried.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// No threads to talk to registries.
    #[error("cannot start threads to talk to registries")]
    Runtime(#[source] std::io::Error),
    /// Certificates, credentials or another part of talking to registries cannot be had.
    #[error(transparent)]
    Registry(#[from] zuwai_oci::OciError),
}

impl ProgramError {
    /// Whether help for the command's flags is of help.
    pub fn is_about_typing(&self) -> bool {
        if let Self::Secret(error) = self {
            return error.is_about_typing();
        }
        if let Self::BuildContext(error) = self {
            return error.is_about_typing();
        }
        matches!(
            self,
            Self::Flag(_)
                | Self::Log(_)
                | Self::UnknownCommand { .. }
                | Self::Arguments { .. }
                | Self::NoDestination
                | Self::MaterializeInNamespaces
                | Self::NoContext
                | Self::Output { .. }
                | Self::CredentialSource { .. }
                | Self::Place { .. }
                | Self::ZstdInDocker
                | Self::Contradiction { .. }
                | Self::Login(_)
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::NoNameToPush => Some("name the image with -t NAME".to_owned()),
            Self::NoRootDirectory => Some("give a directory with --root-dir".to_owned()),
            Self::NoDockerfile { .. } => {
                Some("give the Dockerfile's path, relative to the context, with -f".to_owned())
            }
            Self::Context { .. } => {
                Some("mount or copy the context there, or give another directory".to_owned())
            }
            Self::Login(error) => error.hint(),
            _ => None,
        }
    }
}
