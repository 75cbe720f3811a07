//! Two images that ought to be the same, and where they are not.
//!
//! Compared: every field of the config, row by row of the history, and the flattened file systems, path by path: type, mode,
//! owner, size, content, link target, device number, hard-link group, extended attributes. Not compared: times, digests, and
//! how a layer is written.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::archive::{Kind, hex};
use crate::image::Image;
use crate::tree::{Node, Tree, shown};

/// One place where two images differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A field of the config, or a path and what of it.
    pub place: String,
    /// What the first image has.
    pub left: String,
    /// What the second image has.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} | {}", self.place, self.left, self.right)
    }
}

/// All differences between two images; empty if they are equal.
///
/// # Panics
/// If one cannot be read.
#[must_use]
pub fn compare(left: &Image, right: &Image) -> Vec<Difference> {
    let mut differences = compare_configs(&left.config, &right.config);
    if left.layers.len() != right.layers.len() {
        differences.push(difference("layers", left.layers.len(), right.layers.len()));
    }
    differences.extend(compare_trees(&Tree::of(left), &Tree::of(right)));
    differences
}

/// The differences that a container of the image would notice: without history, and however many layers there are.
///
/// # Panics
/// If one cannot be read.
#[must_use]
pub fn compare_results(left: &Image, right: &Image) -> Vec<Difference> {
    let mut differences = compare_configs(&left.config, &right.config);
    differences.retain(|difference| !difference.place.starts_with("config.history"));
    differences.extend(compare_trees(&Tree::of(left), &Tree::of(right)));
    differences
}

/// The differences, a line each, at most `limit` of them, under a heading that names the two sides.
#[must_use]
pub fn report(differences: &[Difference], left: &str, right: &str, limit: usize) -> String {
    let mut text = format!("  (place: {left} | {right})\n");
    for difference in differences.iter().take(limit) {
        text += &format!("  {difference}\n");
    }
    if differences.len() > limit {
        text += &format!("  and {} more\n", differences.len() - limit);
    }
    text
}

fn difference(place: impl Into<String>, left: impl ToString, right: impl ToString) -> Difference {
    Difference { place: place.into(), left: left.to_string(), right: right.to_string() }
}

/// Differences of two configs, field by field.
#[must_use]
pub fn compare_configs(left: &Value, right: &Value) -> Vec<Difference> {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    flatten("config", left, &mut a);
    flatten("config", right, &mut b);
    let places: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let value = |side: &BTreeMap<String, String>, place: &String| {
        side.get(place).cloned().unwrap_or_else(|| "-".to_owned())
    };
    places
        .into_iter()
        .filter(|place| a.get(*place) != b.get(*place))
        .map(|place| difference(place, value(&a, place), value(&b, place)))
        .collect()
}

fn flatten(place: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let insignificant = place == "config.created"
        || place == "config.rootfs.diff_ids"
        || (place.starts_with("config.history[") && place.ends_with("].created"));
    if insignificant || value.is_null() {
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(&format!("{place}.{name}"), value, into);
            }
        }
        // Order matters in a list: a list of words is one value, a list of objects is one value an object.
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{place}[{index:02}]"), value, into);
            }
        }
        other => {
            into.insert(place.to_owned(), other.to_string());
        }
    }
}

/// Differences of two file systems, path by path.
#[must_use]
pub fn compare_trees(left: &Tree, right: &Tree) -> Vec<Difference> {
    let paths: std::collections::BTreeSet<&[u8]> =
        left.iter().chain(right.iter()).map(|(path, _)| path).collect();
    let (left_links, right_links) = (left.link_groups(), right.link_groups());
    let mut differences = Vec::new();
    for path in paths {
        let place = shown(path);
        match (left.get(path), right.get(path)) {
            // Not every builder writes an entry for the root itself.
            (Some(_), None) | (None, Some(_)) if path.is_empty() => {}
            (Some(node), None) => differences.push(difference(place, summary(node), "-")),
            (None, Some(node)) => differences.push(difference(place, "-", summary(node))),
            (Some(a), Some(b)) => {
                let (a, b) = (aspects(a, left_links.get(path)), aspects(b, right_links.get(path)));
                for ((aspect, a), (_, b)) in a.into_iter().zip(b).filter(|((_, a), (_, b))| a != b) {
                    differences.push(difference(format!("{place} {aspect}"), a, b));
                }
            }
            (None, None) => {}
        }
    }
    differences
}

fn aspects(node: &Node, group: Option<&&[u8]>) -> Vec<(&'static str, String)> {
    let xattrs: Vec<_> = node.xattrs.iter().map(|(name, value)| format!("{name}={}", hex(value))).collect();
    vec![
        ("is", kind(&node.kind)),
        ("mode", format!("{:04o}", node.mode)),
        ("owner", format!("{}:{}", node.uid, node.gid)),
        ("hard link with", group.map_or_else(|| "-".to_owned(), |path| shown(path))),
        ("xattrs", xattrs.join(" ")),
    ]
}

fn summary(node: &Node) -> String {
    format!("{} {:04o} {}:{}", kind(&node.kind), node.mode, node.uid, node.gid)
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::File { size, digest } => format!("file of {size} bytes {}", &digest[..12]),
        Kind::Directory => "directory".to_owned(),
        Kind::Symlink(target) => format!("symlink to {}", String::from_utf8_lossy(target)),
        Kind::Link(target) => format!("hard link to {}", shown(target)),
        Kind::Character(major, minor) => format!("character device {major}:{minor}"),
        Kind::Block(major, minor) => format!("block device {major}:{minor}"),
        Kind::Fifo => "pipe".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{compare_configs, compare_trees};
    use crate::archive::{Attributes, Writer, read};
    use crate::tree::Tree;

    type Build = fn(&mut Writer<Vec<u8>>);

    fn tree(build: Build) -> Tree {
        let mut writer = Writer::new(Vec::new());
        build(&mut writer);
        let mut tree = Tree::default();
        tree.apply(&read(&writer.finish()[..]));
        tree
    }

    #[test]
    fn every_aspect_of_a_file_is_compared() {
        let base: Build = |tar| {
            tar.file("f", &Attributes::mode(0o644), b"a")
                .link("g", &Attributes::mode(0o644), "f")
                .symlink("s", "f");
        };
        let cases: &[(&str, Build)] = &[
            ("/f mode: 0644 | 4644", |tar| {
                tar.file("f", &Attributes::mode(0o4644), b"a")
                    .link("g", &Attributes::mode(0o644), "f")
                    .symlink("s", "f");
            }),
            ("/f owner: 0:0 | 0:7", |tar| {
                tar.file("f", &Attributes::mode(0o644).owner(0, 7), b"a")
                    .link("g", &Attributes::mode(0o644), "f")
                    .symlink("s", "f");
            }),
            ("/f is: file of 1 bytes ca978112ca1b | file of 1 bytes 3e23e8160039", |tar| {
                tar.file("f", &Attributes::mode(0o644), b"b")
                    .link("g", &Attributes::mode(0o644), "f")
                    .symlink("s", "f");
            }),
            ("/f xattrs:  | user.a=31", |tar| {
                tar.file("f", &Attributes::mode(0o644).xattr("user.a", b"1"), b"a")
                    .link("g", &Attributes::mode(0o644), "f")
                    .symlink("s", "f");
            }),
            ("/f hard link with: /f | -", |tar| {
                tar.file("f", &Attributes::mode(0o644), b"a")
                    .file("g", &Attributes::mode(0o644), b"a")
                    .symlink("s", "f");
            }),
            ("/s is: symlink to f | symlink to /f", |tar| {
                tar.file("f", &Attributes::mode(0o644), b"a")
                    .link("g", &Attributes::mode(0o644), "f")
                    .symlink("s", "/f");
            }),
            ("/g: file of 1 bytes ca978112ca1b 0644 0:0 | -", |tar| {
                tar.file("f", &Attributes::mode(0o644), b"a").symlink("s", "f");
            }),
        ];
        assert_eq!(compare_trees(&tree(base), &tree(base)), []);
        for (expected, other) in cases {
            let found: Vec<_> =
                compare_trees(&tree(base), &tree(*other)).iter().map(ToString::to_string).collect();
            assert!(found.iter().any(|line| line == expected), "{expected} not in {found:#?}");
        }
    }

    #[test]
    fn configs_differ_in_any_field_but_times_and_digests() {
        let left = json!({"created": "a", "architecture": "amd64", "config": {"Env": ["A=1", "B=2"], "Labels": {"a": "b"}},
            "history": [{"created": "x", "created_by": "RUN a"}], "rootfs": {"diff_ids": ["sha256:1"], "type": "layers"}});
        let mut right = left.clone();
        right["created"] = json!("b");
        right["history"][0]["created"] = json!("y");
        right["rootfs"]["diff_ids"] = json!(["sha256:2"]);
        assert_eq!(compare_configs(&left, &right), []);
        right["config"]["Env"] = json!(["B=2", "A=1"]);
        right["config"]["Labels"] = json!({});
        right["history"][0]["empty_layer"] = json!(true);
        right["odd"] = json!({});
        let places: Vec<_> =
            compare_configs(&left, &right).into_iter().map(|difference| difference.place).collect();
        let expected = [
            "config.config.Env",
            "config.config.Labels",
            "config.config.Labels.a",
            "config.history[00].empty_layer",
            "config.odd",
        ];
        assert_eq!(places, expected);
    }
}
