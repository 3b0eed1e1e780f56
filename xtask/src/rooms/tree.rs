//! The files of a crate and their imports of one another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// Sources by their paths below `src`.
#[derive(Debug)]
pub(super) struct Tree(BTreeMap<String, Source>);

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
        let files = files.into_iter();
        Self(
            files
                .map(|(path, text)| (path.to_owned(), Source::of(text)))
                .collect(),
        )
    }

    /// Reads the sources below a folder. A missing folder is an error.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut left = vec![folder.to_owned()];
        while let Some(folder_left) = left.pop() {
            for entry in
                fs::read_dir(&folder_left).with_context(|| folder_left.display().to_string())?
            {
                let path = entry?.path();
                let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
                if path.is_dir() && !is_tests {
                    left.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
                    let name = path
                        .strip_prefix(folder)?
                        .to_string_lossy()
                        .replace('\\', "/");
                    files.insert(name, Source::of(&fs::read_to_string(&path)?));
                }
            }
        }
        Ok(Self(files))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each file's imports from others.
    pub(super) fn imports(&self) -> Vec<Import> {
        let modules: BTreeMap<Vec<&str>, &str> =
            self.files().map(|file| (module(file), file)).collect();
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

    /// The lines of a file that contain one of these words, ignoring spaces.
    pub(super) fn words<'a>(&self, file: &str, words: &[&'a str]) -> Vec<(usize, &'a str)> {
        let Some(source) = self.0.get(file) else {
            return Vec::new();
        };
        let mut dense = String::new();
        let mut lines = Vec::new();
        for (number, line) in source.words.lines().enumerate() {
            for char in line.chars().filter(|char| !char.is_whitespace()) {
                lines.resize(lines.len() + char.len_utf8(), number + 1);
                dense.push(char);
            }
        }
        let found = words.iter().flat_map(|word| {
            let places = dense.match_indices(word);
            places.map(|(at, _)| (lines[at], *word)).collect::<Vec<_>>()
        });
        found.collect()
    }

    /// The names that the root re-exports from its modules.
    fn root_names(&self) -> BTreeMap<&str, Vec<&str>> {
        let roots = ["lib.rs", "main.rs"]
            .iter()
            .filter_map(|root| self.0.get(*root));
        let paths = roots.flat_map(Source::paths).map(|(_, path)| path);
        let paths = paths.map(|path| match path[..] {
            ["self" | "crate", ..] => path[1..].to_vec(),
            _ => path,
        });
        paths
            .filter_map(|path| Some((*path.last()?, path)))
            .collect()
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
