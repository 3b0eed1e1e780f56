//! The files below a directory at one moment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Inode;

/// A tree of files, with their content.
///
/// Cloning is cheap: clones share the content until one of them changes.
#[derive(Debug, Clone)]
pub struct Image {
    nodes: BTreeMap<Inode, Node>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Arc<Vec<u8>>),
    Directory(BTreeMap<OsString, Inode>),
}

impl Node {
    fn empty(is_directory: bool) -> Self {
        match is_directory {
            true => Self::Directory(BTreeMap::new()),
            false => Self::File(Arc::default()),
        }
    }
}

impl Image {
    pub(super) const ROOT: Inode = Inode(0);

    /// An empty directory.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            nodes: BTreeMap::from([(Self::ROOT, Node::empty(true))]),
        }
    }

    /// Reads a directory and everything below it.
    ///
    /// # Errors
    /// If an entry cannot be read, or is neither a file nor a directory.
    pub fn read_from(path: &Path) -> io::Result<Self> {
        let mut image = Self::empty();
        image.read_directory(path, Self::ROOT)?;
        Ok(image)
    }

    /// Creates the directory with all its contents.
    ///
    /// # Errors
    /// If the directory exists already or cannot be written.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        for (relative, content) in self.files() {
            match content {
                Some(content) => fs::write(path.join(relative), &**content)?,
                None => fs::create_dir(path.join(relative))?,
            }
        }
        Ok(())
    }

    /// Everything with a name, by path: the content of a file, `None` for a directory.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Option<&Arc<Vec<u8>>>> {
        let paths = self.named().into_iter();
        let content = |inode| match self.nodes.get(&inode) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        };
        paths.map(|(path, inode)| (path, content(inode))).collect()
    }

    /// The paths at which two trees differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<PathBuf> {
        let (ours, theirs) = (self.files(), other.files());
        let paths = ours.keys().chain(theirs.keys());
        let mut differing: Vec<_> = paths
            .filter(|path| ours.get(*path) != theirs.get(*path))
            .cloned()
            .collect();
        differing.sort();
        differing.dedup();
        differing
    }

    /// A path for each inode that has a name.
    pub(super) fn paths(&self) -> BTreeMap<Inode, PathBuf> {
        let named = self.named().into_iter().map(|(path, inode)| (inode, path));
        named.chain([(Self::ROOT, PathBuf::from("."))]).collect()
    }

    /// Everything with a name, each directory before what is in it.
    fn named(&self) -> Vec<(PathBuf, Inode)> {
        let mut named = vec![(PathBuf::new(), Self::ROOT)];
        let mut at = 0;
        while let Some((directory, inode)) = named.get(at).cloned() {
            let entries = self.entries(inode);
            named.extend(entries.map(|(name, child)| (directory.join(name), *child)));
            at += 1;
        }
        named.split_off(1)
    }

    pub(super) fn highest_inode(&self) -> Inode {
        self.nodes
            .last_key_value()
            .map_or(Self::ROOT, |(inode, _)| *inode)
    }

    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        matches!(self.nodes.get(&inode), Some(Node::Directory(_)))
    }

    pub(super) fn lookup(&self, directory: Inode, name: &OsStr) -> Option<Inode> {
        match self.nodes.get(&directory) {
            Some(Node::Directory(entries)) => entries.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn content(&self, file: Inode) -> &[u8] {
        match self.nodes.get(&file) {
            Some(Node::File(content)) => content,
            _ => &[],
        }
    }

    pub(super) fn length(&self, file: Inode) -> u64 {
        self.content(file).len() as u64
    }

    /// Inserts an empty file or directory, unless the inode exists.
    pub(super) fn insert_new(&mut self, inode: Inode, is_directory: bool) {
        let node = self.nodes.entry(inode);
        node.or_insert_with(|| Node::empty(is_directory));
    }

    pub(super) fn set_name(&mut self, directory: Inode, name: &OsStr, target: Option<Inode>) {
        if let Some(Node::Directory(entries)) = self.nodes.get_mut(&directory) {
            match target {
                Some(inode) => entries.insert(name.to_owned(), inode),
                None => entries.remove(name),
            };
        }
    }

    pub(super) fn write(&mut self, file: Inode, offset: usize, data: &[u8]) {
        if let Some(content) = self.content_mut(file) {
            let end = offset + data.len();
            if content.len() < end {
                resize(content, end);
            }
            content[offset..end].copy_from_slice(data);
        }
    }

    pub(super) fn set_length(&mut self, file: Inode, length: usize) {
        if let Some(content) = self.content_mut(file) {
            resize(content, length);
        }
    }

    /// Drops everything without a name, except the `needed` inodes.
    pub(super) fn forget_unnamed(&mut self, needed: impl Fn(Inode) -> bool) {
        let mut reachable = std::collections::BTreeSet::new();
        let mut left: Vec<Inode> = vec![Self::ROOT];
        left.extend(self.nodes.keys().copied().filter(|inode| needed(*inode)));
        while let Some(inode) = left.pop() {
            if reachable.insert(inode) {
                left.extend(self.entries(inode).map(|(_, child)| *child));
            }
        }
        self.nodes.retain(|inode, _| reachable.contains(inode));
    }

    fn entries(&self, inode: Inode) -> impl Iterator<Item = (&OsString, &Inode)> {
        let entries = match self.nodes.get(&inode) {
            Some(Node::Directory(entries)) => Some(entries),
            _ => None,
        };
        entries.into_iter().flatten()
    }

    fn content_mut(&mut self, file: Inode) -> Option<&mut Vec<u8>> {
        match self.nodes.get_mut(&file) {
            Some(Node::File(content)) => Some(Arc::make_mut(content)),
            _ => None,
        }
    }

    fn read_directory(&mut self, path: &Path, inode: Inode) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let child = Inode(self.highest_inode().0 + 1);
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.insert_new(child, true);
                self.read_directory(&entry.path(), child)?;
            } else if kind.is_file() {
                let content = Node::File(Arc::new(fs::read(entry.path())?));
                self.nodes.insert(child, content);
            } else {
                let what = format!("neither file nor directory: {}", entry.path().display());
                return Err(io::Error::other(what));
            }
            self.set_name(inode, &entry.file_name(), Some(child));
        }
        Ok(())
    }
}

/// The allocator supplies the zeros, which is fast even in a debug build.
fn resize(content: &mut Vec<u8>, length: usize) {
    if length > content.len() {
        let zeros = vec![0; length - content.len()];
        content.extend_from_slice(&zeros);
    } else {
        content.truncate(length);
    }
}
