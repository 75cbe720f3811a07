//! Where Zuwai's images differ from BuildKit's, on purpose.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::case::Prepared;
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::tree::Tree;
use zuwai_testkit::zuwai;

fn build(dockerfile: &str) -> Tree {
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    Base::Odd.push(&registry);
    let dir = scratch("beyond");
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    let case = Prepared {
        name: "beyond".to_owned(),
        folder: dir.path().to_owned(),
        dockerfile: dir.path().join("Dockerfile"),
        context,
        flags: Vec::new(),
        expected_error: None,
        same: None,
    };
    std::fs::write(&case.dockerfile, dockerfile.replace("REGISTRY", &registry.address())).unwrap();
    let image = zuwai::build(&case, &dir.path().join("image")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(image.problems(1), Vec::<String>::new());
    Tree::of(&image)
}

fn ready() -> bool {
    needs(REGISTRY) && needs(&[Need::Root, Need::Program("busybox")])
}

/// Overlayfs gives a file of a lower layer that is written to, or linked to, a life of its own; the command saw one file.
#[test]
fn hard_links_to_files_of_lower_layers_stay_links() {
    if !ready() {
        return;
    }
    let tree = build(
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
    let tree = build("FROM REGISTRY/busybox\nRUN ln /etc/passwd /passwd2 && ln /bin/busybox /last\n");
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
    let tree = build("FROM REGISTRY/busybox\nRUN chmod 711 /bin/busybox && rm /bin/vi\n");
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
    let tree = build(
        "FROM REGISTRY/busybox AS s\nRUN mkdir /d && touch /d/f /g\nFROM REGISTRY/busybox\n\
         COPY --from=s --chmod=0777 /d /open\nCOPY --from=s --chmod=0733 /d/f /g /many/\n",
    );
    for (path, mode) in [("open", 0o777), ("open/f", 0o777), ("many", 0o733), ("many/g", 0o733)] {
        assert_eq!(tree.get(path.as_bytes()).map(|node| node.mode), Some(mode), "{path}");
    }
}
