//! Random changes to random trees: what a rescan finds and a layer carries makes the old tree the new one.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use proptest::prelude::*;
use support::{is_root, root, tree};
use zuwai_layer::{LayerReader, LayerWriter};
use zuwai_rootfs::layer::write_layer;
use zuwai_rootfs::unpack::unpack;
use zuwai_rootfs::{Index, Root};

/// Something a command may do. Paths are few, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    Write(String, u8),
    Append(String),
    Mkdir(String),
    Remove(String),
    Rename(String, String),
    Hardlink(String, String),
    Symlink(String, String),
    Chmod(String, u32),
    Chown(String, u32),
    Touch(String, u64),
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["[a-c]", Just("\u{e9} x".to_owned())], 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any_path(), any::<u8>()).prop_map(|(path, byte)| Step::Write(path, byte)),
        1 => any_path().prop_map(Step::Append),
        3 => any_path().prop_map(Step::Mkdir),
        2 => any_path().prop_map(Step::Remove),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Step::Hardlink(from, to)),
        1 => (any_path(), any_path()).prop_map(|(target, path)| Step::Symlink(target, path)),
        1 => (any_path(), prop_oneof![Just(0o755), Just(0o4711), Just(0o600), Just(0o1777)])
            .prop_map(|(path, mode)| Step::Chmod(path, mode)),
        1 => (any_path(), 0..3_u32).prop_map(|(path, owner)| Step::Chown(path, owner)),
        1 => (any_path(), 0..3_u64).prop_map(|(path, time)| Step::Touch(path, time)),
    ]
}

/// Most steps fail at most trees; that is fine. Links are never gone through: they lead out of the test's directory.
fn take(top: &Path, step: &Step) {
    let at = |path: &str| top.join(path);
    let safe = |path: &str| {
        let mut above = top.to_owned();
        path.split('/').all(|name| {
            above.push(name);
            !fs::symlink_metadata(&above).is_ok_and(|metadata| metadata.is_symlink())
        })
    };
    let _ = match step {
        Step::Write(path, byte) if safe(path) => fs::write(at(path), [*byte; 3]),
        Step::Append(path) if safe(path) => {
            use std::io::Write as _;
            fs::OpenOptions::new().append(true).open(at(path)).and_then(|mut file| file.write_all(b"+"))
        }
        Step::Mkdir(path) if safe(path) => fs::create_dir_all(at(path)),
        Step::Remove(path) if safe(path) => {
            fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path)))
        }
        Step::Rename(from, to) if safe(from) && safe(to) => fs::rename(at(from), at(to)),
        Step::Hardlink(from, to) if safe(from) && safe(to) => fs::hard_link(at(from), at(to)),
        Step::Symlink(target, path) if safe(path) => symlink(target, at(path)),
        Step::Chmod(path, mode) if safe(path) => {
            fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
        }
        Step::Chown(path, owner) if safe(path) => chown(at(path), Some(*owner), Some(*owner)),
        Step::Touch(path, time) if safe(path) => fs::File::open(at(path)).and_then(|file| {
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(*time))
        }),
        _ => Ok(()),
    };
}

fn layer(root: &Root, index: &mut Index) -> Vec<u8> {
    let changes = index.rescan(root, 2).unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    let written = write_layer(root, &changes, &mut writer).unwrap();
    index.remember(written.fingerprints);
    writer.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_layers_of_steps_rebuild_the_tree(runs in proptest::collection::vec(proptest::collection::vec(any_step(), 0..25), 1..5)) {
        if !is_root("the_layers_of_steps_rebuild_the_tree") {
            return Ok(());
        }
        let (built, root) = root();
        let (copied, copy) = support::root();
        let top = built.path().join("root");
        let mut index = Index::scan(&root, 1).unwrap();
        for steps in &runs {
            steps.iter().for_each(|step| take(&top, step));
            let layer = layer(&root, &mut index);
            unpack(&copy, LayerReader::new(Cursor::new(&layer))).unwrap();
            prop_assert_eq!(tree(&copied.path().join("root")), tree(&top));
            let again = index.rescan(&root, 2).unwrap();
            prop_assert!(again.is_empty(), "{:?}", again);
        }
    }
}
