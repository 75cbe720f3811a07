//! What the user asked for. The program fills this in from its flags; nothing below reads flags, environment or clock.

use std::path::PathBuf;

use zuwai_layer::compression::{Compression, Level};
use zuwai_oci::media_type::Family;
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::RegistryOptions;
use zuwai_rootfs::isolation::Isolation;
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::step_mount::StepNetwork;
use zuwai_rootfs::volumes::Volume;

use crate::named_context::NamedContexts;
use crate::secret::Secrets;
use crate::ssh::SshAgents;

/// One build, as it was asked for.
#[derive(Debug)]
pub struct BuildRequest {
    /// Where the Dockerfile comes from.
    pub dockerfile: DockerfileSource,
    /// The directory that COPY and ADD read; `None` for a build without a context.
    pub context: Option<PathBuf>,
    /// What stands in place of images and stages by name (`--build-context`).
    pub build_contexts: NamedContexts,
    /// The stage to build, by name; the last one if `None`.
    pub target: Option<String>,
    /// `--build-arg` in order; the last of a name wins. A name without a value and without such an environment
    /// variable does not appear.
    pub build_args: Vec<(String, String)>,
    /// `--label` in order, set on the final image.
    pub labels: Vec<(String, String)>,
    /// The platform to build for; the host's if `None`.
    pub platform: Option<Platform>,
    /// The platform this program runs on.
    pub host_platform: Platform,
    /// Where RUN runs.
    pub isolation: Isolation,
    /// The network of a RUN that does not say itself.
    pub network: StepNetwork,
    /// Builds in place although this does not look like a container.
    pub force: bool,
    /// Directory for everything a build keeps on disk; made if missing.
    pub root_dir: PathBuf,
    /// Leaves the image's files in `/` after a build in place (`--materialize`).
    pub materialize: bool,
    /// The image's time stamps, in seconds since 1970.
    pub created: i64,
    /// The format of the image's documents.
    pub family: Family,
    /// How new layers are compressed.
    pub compression: Compression,
    /// How hard new layers are compressed.
    pub level: Level,
    /// Makes one layer of all that a stage changes, at its end.
    pub single_snapshot: bool,
    /// Paths of the image whose changes never reach a layer (`--ignore-path`).
    pub ignore_paths: Vec<PathBuf>,
    /// What commands and sources may ask for by ID (`--secret`).
    pub secrets: Secrets,
    /// The agents that commands may use by ID (`--ssh`).
    pub ssh: SshAgents,
    /// How registries are reached.
    pub registry: RegistryOptions,
    /// What happens with the image.
    pub outputs: Outputs,
    /// The number of threads for compression and scanning.
    pub threads: usize,
    /// How many stages are built side by side at most, where commands run isolated from one another.
    pub jobs: usize,
    /// `RUN` environment that comes from the builder's own: proxies.
    pub proxy_env: Vec<(String, String)>,
}

/// Where the program finds itself: what it read of the machine at its start, before anything was unpacked.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The trace of a container, if there was one.
    pub container: Option<String>,
    /// The program's own files and what it needs until its end: kept off when building in place.
    pub keep_out: Vec<PathBuf>,
    /// What commands find in `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// The user's volumes, which commands see with namespaces too; none but as kaniko's executor.
    pub volumes: Vec<Volume>,
    /// Where the output of commands goes.
    pub command_output: CommandOutput,
    /// Raised when the build is told to stop.
    pub interrupt: Interrupt,
}

/// Where what a command writes to its standard output goes; its standard error goes to the program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandOutput {
    /// To the program's standard output, as with kaniko.
    #[default]
    Stdout,
    /// To the program's standard error: standard output is for results.
    Stderr,
}

/// Where a Dockerfile's text is.
#[derive(Debug)]
pub enum DockerfileSource {
    /// A file on disk.
    Path(PathBuf),
    /// Text that was read already (standard input), with the name that errors give it.
    Text {
        /// What errors call it.
        name: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Where the finished image goes. Several may be set.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Registries to push to, in order.
    pub push: Vec<Reference>,
    /// A docker archive (`docker save`) to write.
    pub docker_archive: Option<PathBuf>,
    /// An OCI archive (a tar of a layout) to write.
    pub oci_archive: Option<PathBuf>,
    /// An OCI layout directory to write.
    pub oci_layout: Option<PathBuf>,
    /// Names the image has in archives and layouts that are not pushed.
    pub names: Vec<Reference>,
    /// Tags that the image has in layouts and OCI archives without a whole name.
    pub tags: Vec<String>,
    /// File that gets the manifest's digest.
    pub digest_file: Option<PathBuf>,
    /// File that gets a line `NAME@DIGEST` for each destination.
    pub image_name_with_digest_file: Option<PathBuf>,
    /// File that gets a line `NAME:TAG@DIGEST` for each destination.
    pub image_name_tag_with_digest_file: Option<PathBuf>,
    /// Checks before the build that the destinations take a push.
    pub check_push_permission: bool,
    /// That a tag which cannot be moved names another image is no error.
    pub ignore_immutable_tags: bool,
}

impl Outputs {
    /// Whether no place is named at all.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.push.is_empty()
            && self.docker_archive.is_none()
            && self.oci_archive.is_none()
            && self.oci_layout.is_none()
    }
}

impl Outputs {
    /// Whether an output holds every layer, those of the base too.
    pub(crate) fn needs_layers(&self) -> bool {
        self.docker_archive.is_some() || self.oci_archive.is_some() || self.oci_layout.is_some()
    }
}
