//! The files of a commit.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix_hash::{Kind, ObjectId};
use gix_index::State;
use gix_index::entry::Mode;
use gix_object::bstr::{BStr, ByteSlice as _};
use gix_object::{CommitRefIter, Find as _, FindExt as _, TagRefIter};
use gix_utils::progress::Discard;
use gix_worktree::stack::state::attributes::Source;
use gix_worktree_state::checkout::Options;

use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::fetcher::Fetcher;
use crate::remote::git::pack::{self, OBJECT_LIMIT};
use crate::remote::git::reference::{self, Wanted};
use crate::remote::git::remote::GitRemote;
use crate::remote::git::source::GitSource;
use crate::remote::git::tree_size;
use crate::remote::git::{Access, connection, ident};

/// Most tags that point to tags.
const TAG_LIMIT: usize = 16;

/// The objects of a repository, for any thread.
pub(super) type Objects = gix_odb::HandleArc;

/// A repository that is fetched, and where to.
pub(super) struct Repository<'a> {
    pub(super) fetcher: Fetcher<'a>,
    pub(super) access: &'a Access<'a>,
    pub(super) remote: &'a GitRemote,
    /// Objects go here; it looks as git's own.
    pub(super) git_dir: PathBuf,
    /// Files go here.
    pub(super) directory: &'a Path,
    /// Whether the `.git` directory stays.
    pub(super) keep: bool,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The commit.
    pub(super) commit: ObjectId,
    /// What the reference names: the commit or an annotated tag of it.
    pub(super) object: ObjectId,
    /// The reference's full name; none for a commit.
    pub(super) name: Option<String>,
    /// The commit's files.
    pub(super) tree: ObjectId,
}

impl Fetched {
    /// Whether it is what was demanded, in BuildKit's words if not. An annotated tag may be demanded, too.
    pub(super) fn check(&self, remote: &GitRemote, expected: &str) -> Result<(), RemoteError> {
        let (commit, object) = (self.commit.to_string(), self.object.to_string());
        if commit.starts_with(expected) || object.starts_with(expected) {
            return Ok(());
        }
        let expected = expected.to_owned();
        Err(RemoteError::Commit { location: remote.location(), expected, actual: commit })
    }
}

impl Repository<'_> {
    pub(super) fn error(
        &self,
        problem: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RemoteError {
        RemoteError::git(self.remote, problem, source)
    }

    /// Fetches what is wanted, without history.
    pub(super) fn fetch(&self, wanted: &Wanted) -> Result<Fetched, RemoteError> {
        let mut wire = connection::connect(self.fetcher, self.remote, self.access)?;
        let mut handshake = pack::greet(&mut wire, self.remote)?;
        let found = reference::find(&mut wire, &mut handshake, self.remote, wanted)?;
        pack::fetch(&mut wire, &mut handshake, self.remote, found.object, &self.git_dir)?;
        let (commit, tree) = self.peel(found.object)?;
        Ok(Fetched { commit, object: found.object, name: found.name, tree })
    }

    pub(super) fn objects(&self) -> Result<Objects, RemoteError> {
        let directory = self.git_dir.join("objects");
        let options = gix_odb::store::init::Options {
            alloc_limit_bytes: Some(OBJECT_LIMIT),
            ..gix_odb::store::init::Options::default()
        };
        let opened =
            gix_odb::at_opts(&directory, Kind::Sha1, None, options).and_then(gix_odb::Handle::into_arc);
        opened.at("open", &directory)
    }

    /// The commit that an object is or that a tag stands for, and its tree.
    fn peel(&self, object: ObjectId) -> Result<(ObjectId, ObjectId), RemoteError> {
        let objects = self.objects()?;
        let damaged = |error: gix_error::Error| self.error("its objects are damaged", error);
        let (mut id, mut buffer) = (object, Vec::new());
        for _ in 0..TAG_LIMIT {
            let found = objects.try_find(&id, &mut buffer).map_err(damaged)?;
            let data = found.ok_or_else(|| self.error("an object is missing", id.to_string()))?;
            match data.kind {
                gix_object::Kind::Commit => {
                    let tree = CommitRefIter::from_bytes(data.data, Kind::Sha1).tree_id();
                    return Ok((id, tree.map_err(damaged)?));
                }
                gix_object::Kind::Tag => {
                    id = TagRefIter::from_bytes(data.data, Kind::Sha1).target_id().map_err(damaged)?;
                }
                kind => return Err(self.error("no commit", format!("{id} is a {kind}"))),
            }
        }
        Err(self.error("no commit", format!("more than {TAG_LIMIT} tags of tags")))
    }

    /// Writes the files of a tree, and empty directories for submodules. Returns git's index of them.
    pub(super) fn check_out(&self, tree: &ObjectId) -> Result<State, RemoteError> {
        let objects = self.objects()?;
        let failed = |error: gix_error::Error| self.error("cannot check out its files", error);
        tree_size::check(&objects, tree)
            .map_err(|problem| self.error("cannot check out its files", problem))?;
        let mut index =
            State::from_tree(tree, &objects, gix_worktree::validate::path::component::Options::default())
                .map_err(failed)?;
        let never = AtomicBool::new(false);
        let options = self.options().map_err(failed)?;
        let done = gix_worktree_state::checkout(
            &mut index,
            self.directory,
            objects,
            &Discard,
            &Discard,
            &never,
            options,
        )
        .map_err(failed)?;
        if let Some(collision) = done.collisions.first() {
            let problem = format!("two files have the name {}", collision.path);
            return Err(self.error("cannot check out its files", problem));
        }
        ident::correct(self, &index)?;
        for entry in index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT) {
            let path = below(self.directory, entry.path(&index))?;
            make_directories(self.directory, &path)?;
        }
        Ok(index)
    }

    /// A checkout as on Linux with git's defaults. There are no filter programs.
    fn options(&self) -> gix_error::Result<Options> {
        let pipeline = gix_filter::Pipeline::new(Default::default(), Kind::Sha1, Default::default());
        let mut collection = gix_attributes::search::MetadataCollection::default();
        let no_files: [PathBuf; 0] = [];
        // It knows git's built-in macro `binary`.
        let globals = gix_attributes::Search::new_globals(no_files, &mut Vec::new(), &mut collection)
            .map_err(gix_error::Error::from_error)?;
        let attributes =
            gix_worktree::stack::state::Attributes::new(globals, None, Source::IdMapping, collection);
        let linux = gix_fs::Capabilities {
            precompose_unicode: false,
            ignore_case: false,
            executable_bit: true,
            symlink: true,
        };
        Ok(Options { fs: linux, destination_is_initially_empty: true, attributes, ..Options::new(pipeline) })
    }

    /// The content of a file of the index, up to a limit.
    pub(super) fn read(&self, id: &ObjectId, limit: usize) -> Result<Vec<u8>, RemoteError> {
        let mut buffer = Vec::new();
        let objects = self.objects()?;
        objects.find_blob(id, &mut buffer).map_err(|error| self.error("its objects are damaged", error))?;
        match buffer.len() > limit {
            true => Err(self.error("a file is too large", format!("{id} has more than {limit} bytes"))),
            false => Ok(buffer),
        }
    }
}

/// A path of the index in a directory. The index was checked to have none that leads out.
pub(super) fn below(directory: &Path, path: &BStr) -> Result<PathBuf, RemoteError> {
    let path = path.to_path().map_err(io::Error::other).at("use a file name below", directory)?;
    Ok(directory.join(path))
}

/// Makes the directories of a path below another; none of them may be a link.
fn make_directories(root: &Path, path: &Path) -> Result<(), RemoteError> {
    let mut place = root.to_owned();
    for part in path.strip_prefix(root).unwrap_or(path).components() {
        place.push(part);
        match fs::create_dir(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(&place).at("look at", &place)?;
                if !metadata.is_dir() {
                    return Err(io::Error::from(io::ErrorKind::NotADirectory)).at("use", &place);
                }
            }
            made => made.at("create", &place)?,
        }
    }
    Ok(())
}

/// Gives everything the mode that git means, whatever the umask: 0755 to directories and programs,
/// 0444 to packs, 0644 to other files.
pub(super) fn set_modes(directory: &Path) -> Result<(), RemoteError> {
    for entry in fs::read_dir(directory).at("read", directory)? {
        let path = entry.at("read", directory)?.path();
        let metadata = fs::symlink_metadata(&path).at("look at", &path)?;
        let mode = metadata.permissions().mode();
        if metadata.is_dir() {
            fs::set_permissions(&path, Permissions::from_mode(0o755)).at("set the mode of", &path)?;
            set_modes(&path)?;
        } else if metadata.is_file() {
            let mode = match mode {
                mode if mode & 0o100 != 0 => 0o755,
                mode if mode & 0o200 == 0 => 0o444,
                _ => 0o644,
            };
            fs::set_permissions(&path, Permissions::from_mode(mode)).at("set the mode of", &path)?;
        }
    }
    Ok(())
}

/// A subdirectory's names, cleaned as BuildKit does: `..` goes up, but not out.
fn names(subdirectory: &str) -> Vec<&std::ffi::OsStr> {
    let mut names = Vec::new();
    for part in Path::new(subdirectory).components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// Whether a subdirectory is the whole repository.
pub(super) fn is_whole(subdirectory: &str) -> bool {
    names(subdirectory).is_empty()
}

/// Where the subdirectory of a source is. No part of it may be a link.
pub(super) fn subdirectory(source: &GitSource, directory: &Path) -> Result<PathBuf, RemoteError> {
    let mut path = directory.to_owned();
    for name in names(source.subdirectory()) {
        path.push(name);
        let problem = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => continue,
            Ok(_) => format!("{} is not a directory", name.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("there is no {}", name.display())
            }
            Err(error) => return Err(error).at("look at", &path),
        };
        let subdirectory = source.subdirectory().to_owned();
        return Err(RemoteError::Subdirectory { location: source.location(), subdirectory, problem });
    }
    Ok(path)
}
