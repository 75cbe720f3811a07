//! A `.git` directory that is kept, as BuildKit leaves it: without history, its HEAD at the commit, with the address
//! but not the credentials that it came with. What comes from git's installation (sample hooks, comments) and its empty
//! logs are not in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use gix_index::State;

use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::git::checkout::{Fetched, Repository};
use crate::remote::git::submodules::Module;

const DESCRIPTION: &str = "Unnamed repository; edit this file 'description' to name the repository.\n";

/// Completes the `.git` directory of a checkout.
pub(super) fn write(
    repository: &Repository<'_>,
    fetched: &Fetched,
    index: &mut State,
    modules: &[Module],
) -> Result<(), RemoteError> {
    let config = config(repository, None, modules);
    complete(repository, fetched, index, &config)?;
    // As BuildKit's fetch makes them: the name as a tag, and as a branch too if it is no annotated tag.
    if let Some(name) = &fetched.name {
        let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
        let short = short.or_else(|| name.strip_prefix("refs/")).unwrap_or(name);
        reference(&repository.git_dir, &format!("refs/tags/{short}"), &fetched.object.to_string())?;
        if fetched.object == fetched.commit {
            reference(&repository.git_dir, &format!("refs/heads/{short}"), &fetched.commit.to_string())?;
        }
    }
    Ok(())
}

/// Completes the directory of a submodule, in its parent's `.git/modules`, and the file that leads there.
pub(super) fn write_module(
    repository: &Repository<'_>,
    fetched: &Fetched,
    index: &mut State,
    modules: &[Module],
) -> Result<(), RemoteError> {
    let worktree = relative(&repository.git_dir, repository.directory);
    let config = config(repository, Some(&worktree), modules);
    complete(repository, fetched, index, &config)?;
    let link = format!("gitdir: {}\n", relative(repository.directory, &repository.git_dir).display());
    put(&repository.directory.join(".git"), &link)
}

fn complete(
    repository: &Repository<'_>,
    fetched: &Fetched,
    index: &mut State,
    config: &str,
) -> Result<(), RemoteError> {
    let git_dir = &repository.git_dir;
    for name in ["info", "objects/info", "refs/heads", "refs/tags"] {
        let path = git_dir.join(name);
        fs::create_dir_all(&path).at("create", &path)?;
    }
    put(&git_dir.join("HEAD"), &format!("{}\n", fetched.commit))?;
    put(&git_dir.join("config"), config)?;
    put(&git_dir.join("description"), DESCRIPTION)?;
    let packs = git_dir.join("objects/pack");
    for entry in fs::read_dir(&packs).at("read", &packs)? {
        let path = entry.at("read", &packs)?.path();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).at("set the mode of", &path)?;
    }
    let state = std::mem::replace(index, State::new(gix_hash::Kind::Sha1));
    gix_index::File::from_state(state, git_dir.join("index"))
        .write(gix_index::write::Options::default())
        .map_err(|error| repository.error("cannot write its index", error))
}

fn config(repository: &Repository<'_>, worktree: Option<&Path>, modules: &[Module]) -> String {
    let mut text = String::from("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n");
    text.push_str("\tlogallrefupdates = true\n");
    if let Some(worktree) = worktree {
        text.push_str(&format!("\tworktree = {}\n", quoted(&worktree.to_string_lossy())));
    }
    let url = quoted(&repository.remote.config_url());
    text.push_str(&format!(
        "[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    ));
    for module in modules {
        let name = escaped(&module.name);
        text.push_str(&format!("[submodule \"{name}\"]\n\tactive = true\n\turl = {}\n", quoted(&module.url)));
    }
    text
}

/// A value of git's configuration, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/:.@-_~+=%".contains(character);
    if text.chars().all(plain) { text.to_owned() } else { format!("\"{}\"", escaped(text)) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn reference(git_dir: &Path, name: &str, object: &str) -> Result<(), RemoteError> {
    // The server chose the name: it stays below `refs`, or is left out.
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    let path = git_dir.join(name);
    let parent = path.parent().unwrap_or(git_dir);
    fs::create_dir_all(parent).at("create", parent)?;
    put(&path, &format!("{object}\n"))
}

fn put(path: &Path, text: &str) -> Result<(), RemoteError> {
    fs::write(path, text).at("write", path)
}

/// The way from one directory to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let mut from = from.components().peekable();
    let mut to = to.components().peekable();
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let up = from.map(|_| Component::ParentDir);
    up.chain(to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_name_one_another_relatively() {
        for (from, to, way) in [
            ("/a/sub", "/a/.git/modules/sub", "../.git/modules/sub"),
            ("/a/.git/modules/sub", "/a/sub", "../../../sub"),
            ("/a/x/y", "/a/.git/modules/x/modules/y", "../../.git/modules/x/modules/y"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way));
        }
    }

    #[test]
    fn configuration_values_cannot_add_lines() {
        assert_eq!(quoted("https://h/a.git"), "https://h/a.git");
        assert_eq!(quoted("a\n[core]"), "\"a\\n[core]\"");
        assert_eq!(quoted("a\"b # c"), "\"a\\\"b # c\"");
    }
}
