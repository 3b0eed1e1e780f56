//! The files of a crate and their imports of one another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// Sources by their paths below `src`.
#[derive(Debug)]
pub(super) struct Tree(pub(super) BTreeMap<String, Source>);

/// One file's use of something in another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
}

impl Tree {
    #[cfg(test)]
    pub(super) fn of(files: BTreeMap<&str, &str>) -> Self {
        let read = |(path, text): (&str, _)| (path.to_owned(), Source::of(text).unwrap());
        Self(files.into_iter().map(read).collect())
    }

    /// Reads the sources below a folder. A missing folder is an error.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut left = vec![folder.to_owned()];
        while let Some(folder_left) = left.pop() {
            let entries = fs::read_dir(&folder_left);
            for entry in entries.with_context(|| folder_left.display().to_string())? {
                let path = entry?.path();
                if path.file_stem().is_some_and(|stem| stem == "tests") {
                    continue;
                }
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(folder)?.to_string_lossy();
                    let source = Source::of(&fs::read_to_string(&path)?);
                    let source = source.with_context(|| path.display().to_string())?;
                    files.insert(name.replace('\\', "/"), source);
                }
            }
        }
        Ok(Self(files))
    }

    /// Each file's imports from others.
    pub(super) fn imports(&self) -> Vec<Import> {
        let files = self.0.keys().map(String::as_str);
        let modules: BTreeMap<Vec<&str>, &str> = files.map(|file| (module(file), file)).collect();
        let root_names = self.root_names();
        let mut imports = Vec::new();
        for (file, source) in &self.0 {
            for (line, path) in source.paths() {
                let Some(mut path) = absolute(&module(file), &path, &modules) else {
                    continue;
                };
                // A name re-exported by the root belongs to the file it comes from.
                if let [name] = path[..]
                    && !modules.contains_key(&path)
                    && let Some(real) = root_names.get(name)
                {
                    path.clone_from(real);
                }
                while !path.is_empty() && !modules.contains_key(&path) {
                    path.pop();
                }
                let target = modules.get(&path).filter(|target| *target != file);
                imports.extend(target.map(|target| Import {
                    from: file.clone(),
                    line,
                    to: (*target).to_owned(),
                }));
            }
        }
        imports
    }

    /// The names that the root re-exports from its modules.
    fn root_names(&self) -> BTreeMap<&str, Vec<&str>> {
        let roots = ["lib.rs", "main.rs"].into_iter();
        let roots = roots.filter_map(|root| self.0.get(root));
        let mut names = BTreeMap::new();
        for (_, path) in roots.flat_map(Source::paths) {
            let path = match path[..] {
                ["self" | "crate", ..] => path[1..].to_vec(),
                _ => path,
            };
            if let Some(&name) = path.last() {
                names.insert(name, path);
            }
        }
        names
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`.
fn module(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs");
    let mut names: Vec<&str> = path.split('/').collect();
    if matches!(names.last(), Some(&("mod" | "lib" | "main"))) {
        names.pop();
    }
    names
}

/// A path relative to the root of the crate; `None` if it leads elsewhere.
fn absolute<'a>(
    here: &[&'a str],
    path: &[&'a str],
    modules: &BTreeMap<Vec<&str>, &str>,
) -> Option<Vec<&'a str>> {
    let (mut from, mut rest) = match path {
        ["crate", rest @ ..] => (Vec::new(), rest),
        ["self" | "super", ..] => (here.to_vec(), path),
        // A module below this one, or another crate.
        _ => {
            let below = [here, &path[..1]].concat();
            if !modules.contains_key(&below) {
                return None;
            }
            (here.to_vec(), path)
        }
    };
    while let [first @ ("self" | "super"), more @ ..] = rest {
        if *first == "super" {
            from.pop();
        }
        rest = more;
    }
    from.extend(rest.iter().filter(|name| **name != "self"));
    Some(from)
}
