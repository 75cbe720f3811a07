//! A file system as an image gives it: its layers flattened.

use std::collections::BTreeMap;

use crate::archive::{Entry, Kind};
use crate::image::Image;

/// A flattened file system.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    paths: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
}

/// A file, directory or other node; several paths may be hard links to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is; never [`Kind::Link`].
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// The file system of an image.
    ///
    /// # Panics
    /// If a layer cannot be read.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let mut tree = Self::default();
        for layer in &image.layers {
            tree.apply(&layer.entries());
        }
        tree
    }

    /// Lays a layer over what is there. Whiteouts come first: they are about the layers below only.
    ///
    /// # Panics
    /// If a hard link has no target.
    pub fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            let (parent, name) = split(&entry.path);
            if name == b".wh..wh..opq" {
                self.remove_below(parent);
            } else if let Some(name) = name.strip_prefix(b".wh.") {
                self.remove(&join(parent, name));
            }
        }
        for entry in entries.iter().filter(|entry| !split(&entry.path).1.starts_with(b".wh.")) {
            self.add(entry);
        }
    }

    fn add(&mut self, entry: &Entry) {
        let path = &entry.path;
        self.make_parents(path);
        if let Kind::Link(target) = &entry.kind {
            let node = *self.paths.get(target).unwrap_or_else(|| panic!("{} links to nothing", shown(path)));
            self.remove(path);
            self.paths.insert(path.clone(), node);
            return;
        }
        let node = Node {
            kind: entry.kind.clone(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            xattrs: entry.xattrs.clone(),
        };
        let stays =
            node.kind == Kind::Directory && self.get(path).is_some_and(|old| old.kind == Kind::Directory);
        if !stays {
            self.remove(path);
        }
        self.nodes.push(node);
        self.paths.insert(path.clone(), self.nodes.len() - 1);
    }

    fn make_parents(&mut self, path: &[u8]) {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if !self.paths.contains_key(&path[..at]) {
                let (kind, xattrs) = (Kind::Directory, BTreeMap::new());
                self.nodes.push(Node { kind, mode: 0o755, uid: 0, gid: 0, xattrs });
                self.paths.insert(path[..at].to_vec(), self.nodes.len() - 1);
            }
        }
    }

    fn remove(&mut self, path: &[u8]) {
        self.remove_below(path);
        self.paths.remove(path);
    }

    fn remove_below(&mut self, path: &[u8]) {
        if path.is_empty() {
            self.paths.retain(|path, _| path.is_empty());
            return;
        }
        let (start, end) = (join(path, b""), [path, &[b'/' + 1]].concat());
        let below: Vec<Vec<u8>> = self.paths.range(start..end).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.paths.remove(&path);
        }
    }

    /// The node at a path (without a leading slash).
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.paths.get(path).map(|&node| &self.nodes[node])
    }

    /// All paths with their nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.paths.iter().map(|(path, &node)| (path.as_slice(), &self.nodes[node]))
    }

    /// For every path that shares its node with others: the first of them.
    #[must_use]
    pub fn link_groups(&self) -> BTreeMap<&[u8], &[u8]> {
        let mut members: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
        for (path, &node) in &self.paths {
            members.entry(node).or_default().push(path);
        }
        let shared = members.into_values().filter(|paths| paths.len() > 1);
        shared.flat_map(|paths| paths.clone().into_iter().map(move |path| (path, paths[0]))).collect()
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|&byte| byte == b'/').map_or((b"", path), |at| (&path[..at], &path[at + 1..]))
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// A path for people.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::Tree;
    use crate::archive::{Attributes, Writer, read};

    fn paths(tree: &Tree) -> Vec<String> {
        tree.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn whiteouts_opaque_directories_and_replacements_apply_to_layers_below() {
        let file = Attributes::mode(0o644);
        let mut lower = Writer::new(Vec::new());
        lower
            .directory("a", &file)
            .file("a/x", &file, b"")
            .file("a/y", &file, b"")
            .directory("b", &file)
            .file("b/x", &file, b"")
            .file("b-x", &file, b"")
            .directory("c", &file)
            .file("c/x", &file, b"")
            .file("d", &file, b"1")
            .link("e", &file, "d");
        let mut upper = Writer::new(Vec::new());
        upper
            .file("a/new", &file, b"")
            .file("a/.wh..wh..opq", &file, b"")
            .file(".wh.b", &file, b"")
            .symlink("c", "a")
            .file("d", &file, b"2");
        let mut tree = Tree::default();
        tree.apply(&read(&lower.finish()[..]));
        assert_eq!(tree.link_groups().len(), 2);
        tree.apply(&read(&upper.finish()[..]));
        assert_eq!(paths(&tree), ["a", "a/new", "b-x", "c", "d", "e"]);
        assert_eq!(tree.link_groups().len(), 0);
        assert_ne!(tree.get(b"d"), tree.get(b"e"));
    }
}
