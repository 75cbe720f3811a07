//! Sources of ADD that are elsewhere: fetched into a tree of their own, from which they are copied.

use std::path::PathBuf;

use zuwai_context::remote::{
    Authorization, Fetcher, GitOptions, GitSource, HttpOptions, HttpSource, RemoteSource, SshOptions,
};
use zuwai_layer::ImagePath;
use zuwai_oci::Secret;
use zuwai_rootfs::copy::{Source, SourceTree};
use zuwai_rootfs::{KeepOut, Root};

use super::Network;
use crate::error::StepError;
use crate::plan::RemoteCopy;
use crate::request::BuildRequest;
use crate::secret::Secrets;
use crate::ssh::{self, DEFAULT_ID};

/// A remote source that has come.
#[derive(Debug)]
pub struct Fetched {
    /// The tree it is in: the checkout, or the directory of the file.
    root: Root,
    /// Where in it: the file, or the root for a whole checkout.
    path: ImagePath,
    /// Whether it is extracted if it is an archive.
    extract: bool,
}

impl Fetched {
    /// The tree that it is in, all of it root's, as BuildKit has it.
    pub fn tree(&self) -> SourceTree<'_> {
        SourceTree { owner: Some((0, 0)), ..SourceTree::stage(&self.root) }
    }

    /// What is copied.
    pub fn source(&self) -> Source<'_> {
        let tree = self.tree();
        Source::Fetched { tree, path: &self.path, extract: self.extract }
    }
}

/// Fetches a source into an empty tree.
///
/// # Errors
/// When it cannot be had, or is not what its checksum says.
pub fn fetch(
    remote: &RemoteCopy,
    root: Root,
    network: Network<'_>,
    request: &BuildRequest,
) -> Result<Fetched, StepError> {
    let fetcher = Fetcher::new(network.registry, network.runtime.handle());
    match &remote.source {
        RemoteSource::Http(source) => {
            let options = HttpOptions {
                checksum: remote.checksum.clone(),
                authorization: http_authorization(source, &request.secrets)?,
            };
            tracing::info!("Fetching {}", source.location());
            fetcher.fetch_http(source, root.host_path(), &options)?;
            let name = source.file_name().as_encoded_bytes();
            let path = ImagePath::new(name).map_err(|error| StepError::Invalid(error.to_string()))?;
            Ok(Fetched { root, path, extract: remote.unpack })
        }
        RemoteSource::Git(source) => {
            let (ssh, _served) = ssh_agent(source, &root, request)?;
            let options = GitOptions {
                checksum: remote.commit.clone(),
                keep_git_dir: remote.keep_git_dir,
                submodules: source.submodules().unwrap_or(true),
                authorization: git_authorization(source, &request.secrets)?,
                ssh,
            };
            tracing::info!("Fetching {}", source.location());
            let checkout = fetcher.fetch_git(source, root.host_path(), &options)?;
            tracing::info!("Checked out commit {} of {}", checkout.commit, source.location());
            checked_out(root, checkout.path)
        }
        _ => Err(StepError::Invalid("this kind of source is not supported".to_owned())),
    }
}

/// The part of a checkout that the source names.
fn checked_out(root: Root, part: PathBuf) -> Result<Fetched, StepError> {
    if part.is_dir() {
        let failed = |source| StepError::Checkout { path: part.clone(), source };
        let root = Root::open(&part, KeepOut::default()).map_err(failed)?;
        return Ok(Fetched { root, path: ImagePath::root(), extract: false });
    }
    let inside = part.strip_prefix(root.host_path()).unwrap_or(&part).as_os_str().as_encoded_bytes();
    let path = ImagePath::clamped(inside).map_err(|error| StepError::Invalid(error.to_string()))?;
    Ok(Fetched { root, path, extract: false })
}

/// What a web server is told: `HTTP_AUTH_HEADER_<host>`, else `HTTP_AUTH_TOKEN_<host>`.
fn http_authorization(source: &HttpSource, secrets: &Secrets) -> Result<Option<Authorization>, StepError> {
    let host = source.host();
    first_of(
        secrets,
        [
            (format!("HTTP_AUTH_HEADER_{host}"), Authorization::header as Make),
            (format!("HTTP_AUTH_TOKEN_{host}"), Authorization::bearer),
        ],
    )
}

/// What a git server is told: the header or token for its host, else those for all.
fn git_authorization(source: &GitSource, secrets: &Secrets) -> Result<Option<Authorization>, StepError> {
    let host = source.host();
    first_of(
        secrets,
        [
            (format!("GIT_AUTH_HEADER.{host}"), Authorization::header as Make),
            (format!("GIT_AUTH_TOKEN.{host}"), Authorization::git_token),
            ("GIT_AUTH_HEADER".to_owned(), Authorization::header),
            ("GIT_AUTH_TOKEN".to_owned(), Authorization::git_token),
        ],
    )
}

type Make = fn(&Secret) -> Option<Authorization>;

/// What the first of these secrets that was given says.
fn first_of<const N: usize>(
    secrets: &Secrets,
    ids: [(String, Make); N],
) -> Result<Option<Authorization>, StepError> {
    let given = ids.into_iter().find_map(|(id, make)| Some((secrets.get(&id)?, id, make)));
    let Some((secret, id, make)) = given else { return Ok(None) };
    let text = Secret::new(String::from_utf8_lossy(secret.reveal()).into_owned());
    match make(&text) {
        Some(authorization) => Ok(Some(authorization)),
        None => Err(StepError::Invalid(format!(
            "the secret {id} cannot be sent: it holds line breaks or other characters that no header may"
        ))),
    }
}

/// The default SSH agent of the build, for a source that needs one, served as long as the second value lives.
fn ssh_agent(
    source: &GitSource,
    root: &Root,
    request: &BuildRequest,
) -> Result<(SshOptions, Option<ssh::Serving>), StepError> {
    if !source.is_ssh() {
        return Ok((SshOptions::default(), None));
    }
    let Some(agent) = request.ssh.get(DEFAULT_ID) else {
        return Err(StepError::NoSshAgent { id: DEFAULT_ID.to_owned() });
    };
    let socket = root.host_path().with_extension("agent");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let served = ssh::serve(agent, &socket, 0o600, uid, gid)?;
    Ok((SshOptions { agent: Some(socket), known_hosts: None }, Some(served)))
}
