//! A checkout of a git repository, as `ADD` of one makes it.
//!
//! git's protocol, packs and index are gitoxide's; the connections are ours, so that certificate authorities, proxies
//! and name servers are those of everything else. Nothing of the machine's git configuration is read, no hook and no
//! filter program is run, and no program is needed but `ssh`, for addresses that say so.
//!
//! In reading order: [`source`] and [`remote`] say what is wanted and where it is; [`connection`] reaches it
//! ([`web`], [`ssh`]);
//! [`reference`] finds the commit and [`pack`] fetches it; [`checkout`] writes its files (`tree_size`, `ident`),
//! [`submodules`] those of its submodules, and [`directory`] the `.git` directory that may be kept.

mod checkout;
mod connection;
mod directory;
mod ident;
mod pack;
mod reference;
pub(crate) mod remote;
pub(crate) mod source;
mod ssh;
mod submodules;
mod tree_size;
mod web;

use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::fetcher::{Authorization, Fetcher};
use crate::remote::git::checkout::Repository;
use crate::remote::git::reference::Wanted;
use crate::remote::http::user_information;

pub use source::{GitSource, GitSourceError};

/// What else counts when a repository is fetched.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// The commit, or the annotated tag, that the reference must stand for: all of its digits, or the first ones.
    pub checksum: Option<String>,
    /// Whether a `.git` directory stays in the checkout. BuildKit, and so this, keeps none of a subdirectory.
    pub keep_git_dir: bool,
    /// Whether submodules are fetched, and theirs.
    pub submodules: bool,
    /// Who we are to the server of the source, and to no other.
    pub authorization: Option<Authorization>,
    /// What ssh may use.
    pub ssh: SshOptions,
}

impl Default for GitOptions {
    /// BuildKit's: with submodules, without `.git`.
    fn default() -> Self {
        Self {
            checksum: None,
            keep_git_dir: false,
            submodules: true,
            authorization: None,
            ssh: SshOptions::default(),
        }
    }
}

/// What `ssh` may use.
#[derive(Debug, Clone, Default)]
pub struct SshOptions {
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Whom to trust; without it, whoever answers is trusted.
    pub known_hosts: Option<PathBuf>,
}

/// A checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCheckout {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Where the source's files are: the directory that was given, or the subdirectory in it.
    pub path: PathBuf,
}

/// Who we are to whom: the credentials of a source are for its own server alone, submodules elsewhere have none.
struct Access<'a> {
    source: &'a GitSource,
    authorization: Option<&'a Authorization>,
    ssh: &'a SshOptions,
}

impl Access<'_> {
    fn authorization(&self, url: &Url) -> Option<Authorization> {
        let remote::GitRemote::Web(own) = &self.source.remote else { return user_information(url) };
        match own.origin() == url.origin() {
            true => self
                .authorization
                .cloned()
                .or_else(|| user_information(url))
                .or_else(|| user_information(own)),
            false => user_information(url),
        }
    }
}

impl Fetcher<'_> {
    /// Checks out a git repository into a directory, which must be empty: the commit of its reference, without history,
    /// with its submodules. Files have mode 0644 or 0755 whatever the umask, links are kept, and `.gitattributes` count
    /// (line ends, `ident`), but no filter program is run: files in git-lfs stay pointers.
    ///
    /// # Errors
    /// When the address cannot be reached, refuses, or has no such reference, commit or subdirectory. What the directory
    /// then holds is of no use.
    pub fn fetch_git(
        &self,
        source: &GitSource,
        directory: &Path,
        options: &GitOptions,
    ) -> Result<GitCheckout, RemoteError> {
        let checksum = options.checksum.as_deref().or(source.checksum());
        if let Some(checksum) = checksum {
            check_checksum(&source.remote, checksum)?;
        }
        let access = Access { source, authorization: options.authorization.as_ref(), ssh: &options.ssh };
        let keep = options.keep_git_dir && checkout::is_whole(&source.subdirectory);
        let git_dir = directory.join(".git");
        let remote = &source.remote;
        let repository = Repository { fetcher: *self, access: &access, remote, git_dir, directory, keep };
        let fetched = repository.fetch(&Wanted::of(source.reference()))?;
        if let Some(expected) = checksum {
            fetched.check(remote, expected)?;
        }
        let mut index = repository.check_out(&fetched.tree)?;
        let modules = match options.submodules {
            true => submodules::check_out(&repository, &index, 0)?,
            false => Vec::new(),
        };
        match keep {
            true => directory::write(&repository, &fetched, &mut index, &modules)?,
            false => fs::remove_dir_all(&repository.git_dir).at("remove", &repository.git_dir)?,
        }
        checkout::set_modes(directory)?;
        let path = checkout::subdirectory(source, directory)?;
        Ok(GitCheckout { commit: fetched.commit.to_string(), path })
    }
}

fn check_checksum(remote: &remote::GitRemote, checksum: &str) -> Result<(), RemoteError> {
    match !checksum.is_empty() && checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(RemoteError::GitChecksum { location: remote.location(), checksum: checksum.to_owned() }),
    }
}
