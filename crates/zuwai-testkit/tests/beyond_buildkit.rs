//! Where Zuwai's images differ from BuildKit's, on purpose.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

use tempfile::TempDir;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::run;
use zuwai_testkit::compare::{compare_results, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, PODMAN, REGISTRY, needs};
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::tree::Tree;
use zuwai_testkit::zuwai;

/// Where a Dockerfile is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On this machine, where trees are overlays.
    Machine,
    /// In a container that has its state on its own file system, where trees are scanned.
    Container,
}

/// Builds in a folder of its own, in which the image is.
fn build(place: Place, dockerfile: &str, flags: &[&str]) -> (Image, TempDir) {
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    Base::Odd.push(&registry);
    let dir = scratch("beyond");
    let text = dockerfile.replace("REGISTRY", &registry.address());
    std::fs::write(dir.path().join("Dockerfile"), text).unwrap();
    let arguments = |folder: &str| {
        let own = ["--context=dir://FOLDER", "--no-push", "--oci-layout-path=FOLDER/image"];
        own.iter().chain(flags).map(|flag| flag.replace("FOLDER", folder)).collect::<Vec<_>>()
    };
    let finished = match place {
        Place::Machine => {
            let state = format!("--kaniko-dir={}/state", dir.path().display());
            run(zuwai::zuwai().arg("executor").arg(state).args(arguments(&dir.path().display().to_string())))
        }
        Place::Container => {
            let mounts = [(dir.path(), "/case")];
            Podman::shared().execute(Environment::Kubernetes, &mounts, &arguments("/case"))
        }
    };
    assert_eq!(finished.code, 0, "{}", finished.all());
    let overlay = finished.all().contains("; overlay)");
    assert_eq!(overlay, place == Place::Machine, "{}", finished.all());
    let image = Image::layout(&dir.path().join("image"));
    assert_eq!(image.problems(1), Vec::<String>::new());
    (image, dir)
}

/// The tree of an image that is built where trees are scanned.
fn scanned(dockerfile: &str) -> Tree {
    let (image, _folder) = build(Place::Container, dockerfile, &[]);
    Tree::of(&image)
}

fn ready() -> bool {
    needs(REGISTRY) && needs(PODMAN) && needs(&[Need::Root, Need::Program("busybox")])
}

/// All that the stages of a build change, each in one layer: the same files and configuration as of many.
#[test]
fn a_single_snapshot_is_one_layer_with_everything() {
    if !ready() {
        return;
    }
    let dockerfile = "FROM REGISTRY/busybox AS below\nENV A=1\nRUN mkdir -p /d/e && echo x > /d/e/f && chmod 700 /d\n\
         FROM REGISTRY/busybox AS other\nWORKDIR /made\nCOPY <<EOF /made/file\nhello\nEOF\n\
         FROM below\nCOPY --from=other /made /d/made\nRUN rm -r /d/e && mkdir /d/e && ln /d/made/file /d/link\n\
         COPY --link --from=other /made/file /linked\nRUN rm /etc/group && touch /etc/passwd\nUSER 1\nCMD [\"true\"]\n";
    for place in [Place::Machine, Place::Container] {
        let (many, _many) = build(place, dockerfile, &[]);
        let (single, _single) = build(place, dockerfile, &["--single-snapshot"]);
        assert_eq!((many.layers.len(), single.layers.len()), (6, 3), "{place:?}");
        let differences = compare_results(&many, &single);
        assert!(differences.is_empty(), "{}", report(&differences, "many layers", "a single snapshot", 25));
        let rows = single.config["history"].as_array().unwrap();
        assert_eq!(rows.iter().filter(|row| row["empty_layer"] != true).count(), 3, "{place:?}: {rows:?}");
        assert_eq!(many.config["history"].as_array().unwrap().len(), rows.len());
    }
}

/// Overlayfs gives a file of a lower layer that is written to, or linked to, a life of its own; where trees are scanned the
/// command saw one file.
#[test]
fn hard_links_to_files_of_lower_layers_stay_links() {
    if !ready() {
        return;
    }
    let tree = scanned(
        "FROM REGISTRY/busybox\nRUN mkdir /h && echo x > /h/1 && ln /h/1 /h/2 && ln /h/1 /h/3\nRUN ln /h/1 /h/4\nRUN echo y >> /h/2\nRUN rm /h/1\n",
    );
    let groups = tree.link_groups();
    for path in ["h/2", "h/3", "h/4"] {
        assert_eq!(groups.get(path.as_bytes()), Some(&&b"h/2"[..]), "{path}");
        assert_eq!(tree.get(path.as_bytes()), tree.get(b"h/2"));
    }
    assert!(tree.get(b"h/1").is_none());
}

#[test]
fn link_to_a_file_of_the_base_is_a_link() {
    if !ready() {
        return;
    }
    let tree = scanned("FROM REGISTRY/busybox\nRUN ln /etc/passwd /passwd2 && ln /bin/busybox /last\n");
    let groups = tree.link_groups();
    assert_eq!(groups.get(&b"passwd2"[..]), Some(&&b"etc/passwd"[..]));
    assert_eq!(groups.get(&b"last"[..]), groups.get(&b"bin/sh"[..]));
}

/// A base's links stay whole when a command changes the file that they are.
#[test]
fn mode_of_a_file_with_many_names_changes_under_all_of_them() {
    if !ready() {
        return;
    }
    let tree = scanned("FROM REGISTRY/busybox\nRUN chmod 711 /bin/busybox && rm /bin/vi\n");
    for path in ["bin/busybox", "bin/sh", "bin/ls"] {
        assert_eq!(tree.get(path.as_bytes()).map(|node| node.mode), Some(0o711), "{path}");
        assert_eq!(
            tree.link_groups().get(path.as_bytes()),
            tree.link_groups().get(&b"bin/busybox"[..]),
            "{path}"
        );
    }
}

/// BuildKit in the Docker Engine takes the daemon's umask of 022 off the mode of directories that it makes on the way;
/// BuildKit by itself does not.
#[test]
fn made_directories_get_all_of_chmod() {
    if !ready() {
        return;
    }
    let tree = scanned(
        "FROM REGISTRY/busybox AS s\nRUN mkdir /d && touch /d/f /g\nFROM REGISTRY/busybox\n\
         COPY --from=s --chmod=0777 /d /open\nCOPY --from=s --chmod=0733 /d/f /g /many/\n",
    );
    for (path, mode) in [("open", 0o777), ("open/f", 0o777), ("many", 0o733), ("many/g", 0o733)] {
        assert_eq!(tree.get(path.as_bytes()).map(|node| node.mode), Some(mode), "{path}");
    }
}
