//! What `--ignore-path` keeps out of layers.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use zuwai_layer::ImagePath;
use zuwai_rootfs::{ChangeSet, KeepOut, Root};

/// Paths that no layer has, with all below them: by their names, and by what these lead to in the image at the time.
#[derive(Debug)]
pub struct Ignored {
    paths: Vec<ImagePath>,
}

impl Ignored {
    /// These paths of the image.
    pub fn new(paths: &[PathBuf]) -> Self {
        let inside = |path: &PathBuf| ImagePath::clamped(path.as_os_str().as_bytes()).ok();
        Self { paths: paths.iter().filter_map(inside).collect() }
    }

    /// Removes from changes what is ignored in a tree.
    pub fn remove_from(&self, changes: &mut ChangeSet, tree: &Root) {
        if self.paths.is_empty() {
            return;
        }
        // A path that leads nowhere is ignored by its name.
        let real = |path: &ImagePath| [tree.resolve_parents(path).ok(), tree.resolve(path).ok()];
        let ignored = self.paths.iter().flat_map(|path| [Some(path.clone())].into_iter().chain(real(path)));
        let ignored = KeepOut::new(ignored.flatten());
        changes.changes.retain(|path, _| !ignored.covers(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_a_path_are_ignored_through_links_too() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("run/app")).unwrap();
        std::fs::create_dir(directory.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/run", directory.path().join("var/run")).unwrap();
        let root = Root::open(directory.path(), KeepOut::default()).unwrap();
        let all = ["run", "run/app", "run/app/x", "run/apple", "var", "var/run", "var/run/app/y", "etc/a"];
        for (ignored, left) in [
            (&["/var/run/app"][..], &["etc/a", "run", "run/apple", "var", "var/run"][..]),
            (&["/run/app", "/etc"], &["run", "run/apple", "var", "var/run", "var/run/app/y"]),
            // A link to a directory stands for the directory.
            (&["var/run/"], &["etc/a", "var"]),
            (
                &["/nowhere", "/run/nowhere/x"],
                &["etc/a", "run", "run/app", "run/app/x", "run/apple", "var", "var/run", "var/run/app/y"],
            ),
            (&[], &["etc/a", "run", "run/app", "run/app/x", "run/apple", "var", "var/run", "var/run/app/y"]),
        ] {
            let mut changes = ChangeSet::default();
            all.iter().for_each(|path| changes.upsert(ImagePath::new(path).unwrap()));
            let paths: Vec<PathBuf> = ignored.iter().map(PathBuf::from).collect();
            Ignored::new(&paths).remove_from(&mut changes, &root);
            let found: Vec<String> =
                changes.iter().map(|(path, _)| path.as_relative().display().to_string()).collect();
            assert_eq!(found, left, "{ignored:?}");
        }
    }
}
