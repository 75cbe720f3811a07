//! The directory with its patterns.

use std::io;
use std::path::Path;

use zuwai_rootfs::copy::SourceTree;
use zuwai_rootfs::{KeepOut, Root};

use crate::error::ContextError;
use crate::ignore::Ignore;

/// A directory to build from.
#[derive(Debug)]
pub struct Context {
    root: Root,
    ignore: Ignore,
}

impl Context {
    /// Opens a local directory, with the ignore file that counts for this Dockerfile. What `keep_out` covers (paths
    /// counted from the directory, such as the builder's own state) does not exist for the build.
    ///
    /// A Dockerfile that is excluded can still be built from, since it is not read through the context; it cannot be
    /// copied.
    ///
    /// # Errors
    /// When the directory or the ignore file cannot be read.
    pub fn open(
        directory: &Path,
        dockerfile: Option<&Path>,
        keep_out: KeepOut,
    ) -> Result<Self, ContextError> {
        let root = Root::open(directory, keep_out).map_err(|source| {
            let path = directory.to_owned();
            match source.kind() {
                io::ErrorKind::NotADirectory => ContextError::NotADirectory { path },
                _ => ContextError::Open { path, source },
            }
        })?;
        Ok(Self { root, ignore: Ignore::read(directory, dockerfile)? })
    }

    /// What to copy from.
    pub fn source(&self) -> SourceTree<'_> {
        SourceTree::context(&self.root, &self.ignore.patterns)
    }

    /// The ignore file that counts, with its patterns.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The directory.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use zuwai_rootfs::copy::{CopyOptions, copy};

    use super::*;

    fn write(directory: &Path, name: &str) {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }

    /// What of the context `COPY` copies to `/x`, or its error.
    fn copied(ignore: &str, source: &str) -> Result<BTreeSet<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "Dockerfile",
            "README.md",
            "a/b/f",
            "a/c/g",
            "a/top",
            "docs/x/README.md",
            "docs/r.txt",
            "keep/deep/k",
            "keep/z",
            "s1/sec",
            "s2/sec",
            "state/blob",
        ] {
            write(directory.path(), name);
        }
        std::fs::write(directory.path().join(".dockerignore"), ignore).unwrap();
        let keep_out = KeepOut::new([zuwai_layer::ImagePath::new("state").unwrap()]);
        let context =
            Context::open(directory.path(), Some(&directory.path().join("Dockerfile")), keep_out).unwrap();
        let target = tempfile::tempdir().unwrap();
        let root = Root::open(target.path(), KeepOut::default()).unwrap();
        let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
        let options = CopyOptions { owner, ..CopyOptions::default() };
        copy(&root, context.source(), &[source], b"/x/", &options)
            .map(|changes| {
                changes.iter().map(|(path, _)| path.to_string()).filter(|path| path != "/x").collect()
            })
            .map_err(|error| error.to_string())
    }

    /// As a real BuildKit copied it, but for what is kept out.
    #[test]
    fn ignored_files_are_not_there() {
        for (ignore, source, expected) in [
            (
                "*\n!keep/deep\n!README.md\n",
                ".",
                &["/x/README.md", "/x/keep", "/x/keep/deep", "/x/keep/deep/k"][..],
            ),
            ("*\n!keep/deep/k\n", "keep", &["/x/deep", "/x/deep/k"]),
            ("*\n!keep/deep/k\n", "k*", &["/x/deep", "/x/deep/k"]),
            ("a\n!a/b\n", "a", &["/x/b", "/x/b/f"]),
            ("a/*\n", "a", &[]),
            ("a\n", "a*", &[]),
            ("**\n!**/sec\n", ".", &["/x/s1", "/x/s1/sec", "/x/s2", "/x/s2/sec"]),
            ("*\n!keep\nkeep/z\n", "keep", &["/x/deep", "/x/deep/k"]),
            ("a/b/f\na/c\n", "a", &["/x/b", "/x/top"]),
            ("docs/x/*\n", "docs/x", &[]),
            (
                "**/*.md\ns*\n!s2\n*e*\nD*\n.*\n",
                ".",
                &[
                    "/x/a",
                    "/x/a/b",
                    "/x/a/b/f",
                    "/x/a/c",
                    "/x/a/c/g",
                    "/x/a/top",
                    "/x/docs",
                    "/x/docs/r.txt",
                    "/x/docs/x",
                    "/x/s2",
                    "/x/s2/sec",
                ],
            ),
        ] {
            let expected: BTreeSet<String> = expected.iter().map(|path| (*path).to_owned()).collect();
            assert_eq!(copied(ignore, source).unwrap(), expected, "{ignore:?}: {source}");
        }
    }

    #[test]
    fn ignored_sources_are_errors_that_say_so() {
        let excluded = "not found: it is excluded from the build context, see .dockerignore";
        for (ignore, source, message) in [
            ("a\n", "a", format!("\"/a\": {excluded}")),
            ("a\n", "a/top", format!("\"/a/top\": {excluded}")),
            ("a\n", "a/*", format!("\"/a\": {excluded}")),
            ("Dockerfile\n.dockerignore\n", "Dockerfile", format!("\"/Dockerfile\": {excluded}")),
            ("", "state", "\"/state\": not found".to_owned()),
            ("", "state/blob", "\"/state/blob\": not found".to_owned()),
        ] {
            assert_eq!(copied(ignore, source), Err(message), "{ignore:?}: {source}");
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "file");
        let open =
            |name: &str| Context::open(&directory.path().join(name), None, KeepOut::default()).unwrap_err();
        assert!(matches!(open("file"), ContextError::NotADirectory { .. }));
        assert!(matches!(open("missing"), ContextError::Open { .. }));
    }
}
