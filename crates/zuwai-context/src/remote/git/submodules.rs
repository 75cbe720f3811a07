//! The repositories that lie in directories of another one.

use gix_hash::ObjectId;
use gix_index::State;
use gix_index::entry::Mode;
use gix_object::bstr::{BStr, BString};

use crate::remote::error::RemoteError;
use crate::remote::git::checkout::{Repository, below};
use crate::remote::git::directory;
use crate::remote::git::reference::Wanted;

/// How deep submodules may lie in submodules, and how many one repository may have.
const DEPTH_LIMIT: usize = 16;
const COUNT_LIMIT: usize = 1000;
/// Largest `.gitmodules`.
const FILE_LIMIT: usize = 1 << 20;

/// A submodule as `.gitmodules` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, which is that of its git directory.
    pub(super) name: String,
    /// Where it is, without a password.
    pub(super) url: String,
}

/// Fetches and checks out the submodules of a checkout, and theirs, each at the commit that its parent names.
pub(super) fn check_out(
    repository: &Repository<'_>,
    index: &State,
    depth: usize,
) -> Result<Vec<Module>, RemoteError> {
    let links: Vec<(BString, ObjectId)> = index
        .entries()
        .iter()
        .filter(|entry| entry.mode == Mode::COMMIT)
        .map(|entry| (entry.path(index).to_owned(), entry.id))
        .collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    if depth == DEPTH_LIMIT || links.len() > COUNT_LIMIT {
        let problem = format!("more than {COUNT_LIMIT} submodules, or more than {DEPTH_LIMIT} deep");
        return Err(repository.error("too many submodules", problem));
    }
    let config = read(repository, index)?;
    let mut modules = Vec::new();
    for (path, commit) in links {
        let Some(described) = describe(&config, &path) else {
            let problem = format!("no url found for submodule path {path} in .gitmodules");
            return Err(repository.error("cannot fetch its submodules", problem));
        };
        if described.skipped {
            continue;
        }
        if !is_directory_name(&described.name) {
            let problem = format!("invalid submodule name {:?}", described.name);
            return Err(repository.error("cannot fetch its submodules", problem));
        }
        let remote = match repository.remote.join(&described.url) {
            Some(Ok(remote)) => remote,
            Some(Err(error)) => return Err(repository.error("a submodule's address is invalid", error)),
            None => {
                let problem = format!("submodule {path} is at no address that can be fetched from here");
                return Err(repository.error("cannot fetch its submodules", problem));
            }
        };
        let place = below(repository.directory, path.as_ref())?;
        let module = Repository {
            remote: &remote,
            git_dir: repository.git_dir.join("modules").join(&described.name),
            directory: &place,
            ..*repository
        };
        let fetched = module.fetch(&Wanted::Commit(commit))?;
        let mut own_index = module.check_out(&fetched.tree)?;
        let own_modules = check_out(&module, &own_index, depth + 1)?;
        if repository.keep {
            directory::write_module(&module, &fetched, &mut own_index, &own_modules)?;
        }
        modules.push(Module { name: described.name, url: remote.config_url() });
    }
    Ok(modules)
}

/// Reads `.gitmodules`; nothing if there is none. A link is not followed.
fn read(repository: &Repository<'_>, index: &State) -> Result<gix_config::File, RemoteError> {
    let entry = index.entry_by_path(BStr::new(".gitmodules"));
    let text = match entry.filter(|entry| matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE)) {
        Some(entry) => repository.read(&entry.id, FILE_LIMIT)?,
        None => Vec::new(),
    };
    let metadata = gix_config::file::Metadata::api();
    gix_config::File::from_bytes_no_includes(&text, metadata, gix_config::file::init::Options::default())
        .map_err(|error| repository.error("cannot read its .gitmodules", error))
}

struct Described {
    name: String,
    url: String,
    /// Whether it says that it is not to be fetched.
    skipped: bool,
}

/// What is said about the submodule at a path.
fn describe(config: &gix_config::File, path: &BString) -> Option<Described> {
    let sections = config.sections_by_name("submodule")?;
    sections.into_iter().find_map(|section| {
        let value = |key: &str| section.value(key).map(|value| value.to_string());
        (*section.value("path")? == *path).then_some(())?;
        let name = section.header().subsection_name()?.to_string();
        let skipped = value("update").as_deref() == Some("none");
        Some(Described { name, url: value("url")?, skipped })
    })
}

/// Whether a name leads to a directory below where it is used, and nowhere else.
fn is_directory_name(name: &str) -> bool {
    !name.contains('\0') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for (name, good) in [
            ("a", true),
            ("a/b", true),
            ("", false),
            ("..", false),
            ("a/../../b", false),
            ("/a", false),
            ("a//b", false),
        ] {
            assert_eq!(is_directory_name(name), good, "{name}");
        }
    }
}
