//! The rules for imports between parts of the workspace, and a check that reads the sources as
//! text.
//!
//! A room is a folder of a crate under `src`. [`CRATES`] says which rooms a room may import, and
//! [`APART`] which crates never name each other. Comments and unit tests are ignored.

mod source;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};

use self::tree::Tree;
use crate::shell;

/// A crate, and its rules. In them, names and words have spaces between.
struct Crate {
    folder: &'static str,
    /// Each room with the rooms it may import. All rooms may import files outside of rooms.
    rooms: &'static [(&'static str, &'static str)],
    /// The only files allowed outside of rooms; no rule if empty.
    root: &'static [&'static str],
    /// Rooms, and words that only they may contain.
    words: &'static [(&'static str, &'static str)],
    /// Whether import cycles between files are forbidden.
    no_circle: bool,
}

const CRATES: [Crate; 3] = [
    Crate {
        folder: "crates/flush-engine",
        rooms: &[
            ("api", ""),
            ("telemetry", "api"),
            ("lifecycle", "api telemetry"),
            ("cache", "api lifecycle telemetry"),
            ("storage", "api cache lifecycle telemetry"),
            ("delivery", "api cache lifecycle telemetry"),
            ("schedule", "api cache delivery lifecycle storage telemetry"),
            ("aws", "api cache lifecycle storage telemetry"),
        ],
        root: &["lib.rs", "engine.rs"],
        words: &[
            // Only the cache calls the store.
            ("cache", "store.append( store.oldest( store.settle("),
            ("cache", "store.clear( store.stats( store.close("),
            // Timers, tasks and clocks depend on the target.
            ("lifecycle", "tokio::time tokio::task tokio::spawn"),
            ("lifecycle", "tokio::runtime SystemTime::now"),
            ("lifecycle", "spawn_local web_time"),
            // The engine knows no service.
            ("aws", "aws_ Exception\" Throttl KMS"),
        ],
        no_circle: false,
    },
    Crate {
        folder: "crates/record-cache",
        rooms: &[
            ("index", ""),
            ("indexed_db", ""),
            ("log", "index"),
            ("disk", "index log"),
            ("inspect", "index log"),
        ],
        root: &[],
        words: &[],
        no_circle: false,
    },
    Crate {
        folder: "xtask",
        rooms: &[],
        root: &[],
        words: &[],
        no_circle: true,
    },
];

/// Crates, and the crates that each must not name, with spaces between.
const APART: [(&str, &str); 7] = [
    ("crates/aggregation", "batcher record-cache flush-engine"),
    ("crates/amplify-kinesis", "amplify-firehose"),
    ("crates/amplify-firehose", "amplify-kinesis"),
    ("crates/batcher", "record-cache flush-engine"),
    ("crates/record-cache", "batcher flush-engine"),
    (
        "crates/amplify-test-endpoint",
        "amplify-kinesis amplify-firehose flush-engine record-cache",
    ),
    (
        "tests/support",
        "amplify-kinesis amplify-firehose flush-engine",
    ),
];

/// The map of the code. A path in it starts at the workspace or at one of these folders.
const MAP: &str = "docs/architecture.md";
const STARTS: [&str; 4] = [
    "",
    "crates/record-cache/src",
    "crates/flush-engine/src",
    "crates/aggregation/src",
];

/// Checks this workspace, or another checkout of it.
///
/// # Errors
/// If a file cannot be read, or if a rule is broken; lists every violation.
pub(crate) fn check(checkout: Option<&Path>) -> Result<()> {
    let workspace = checkout.unwrap_or(shell::workspace());
    let mut wrong = Vec::new();
    for rules in &CRATES {
        let tree = Tree::read(&workspace.join(rules.folder).join("src"))?;
        wrong.extend(rules.complaints(&tree));
    }
    for (folder, others) in APART {
        let folder = workspace.join(folder);
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))?;
        let tree = Tree::read(&folder.join("src"))?;
        let folder = folder.display().to_string();
        wrong.extend(named(&folder, &manifest, &tree, others));
    }
    let map = std::fs::read_to_string(workspace.join(MAP))?;
    wrong.extend(not_there(workspace, &map));
    ensure!(
        wrong.is_empty(),
        "the rooms are not in order:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

impl Crate {
    fn complaints(&self, tree: &Tree) -> Vec<String> {
        let folder = self.folder;
        let mut wrong = Vec::new();
        let rooms: BTreeMap<_, _> = self.rooms.iter().copied().collect();
        for import in tree.imports() {
            let (from, to) = (room_of(&import.from), room_of(&import.to));
            let may = |rooms: &&str| rooms.split(' ').any(|room| room == to);
            if from != to
                && rooms.contains_key(to)
                && rooms.get(from).is_some_and(|rooms| !may(rooms))
            {
                wrong.push(format!(
                    "{folder}/src/{}:{}: {from} may not import {to}",
                    import.from, import.line
                ));
            }
        }
        for (file, source) in &tree.0 {
            if !self.root.is_empty() && !file.contains('/') && !self.root.contains(&&**file) {
                wrong.push(format!("{folder}/src/{file}: is in no room"));
            }
            for (room, words) in self.words {
                if *room == room_of(file) {
                    continue;
                }
                for (line, word) in source.words(words) {
                    wrong.push(format!(
                        "{folder}/src/{file}:{line}: only {room} may say `{word}`"
                    ));
                }
            }
        }
        if self.no_circle
            && let Some(circle) = circle(tree)
        {
            wrong.push(format!(
                "{folder}/src: an import cycle: {}",
                circle.join(" -> ")
            ));
        }
        wrong
    }
}

/// The room of a file; a file outside of rooms is its own room.
fn room_of(file: &str) -> &str {
    file.split_once('/').map_or(file, |(room, _)| room)
}

/// A cycle: each file imports the next, and the last imports the first.
fn circle(tree: &Tree) -> Option<Vec<String>> {
    let mut next: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for import in tree.imports() {
        if import.from != import.to {
            next.entry(import.from).or_default().insert(import.to);
        }
    }
    // A file that imports none of the remaining files is in no cycle.
    loop {
        let left: BTreeSet<String> = next.keys().cloned().collect();
        for targets in next.values_mut() {
            targets.retain(|target| left.contains(target));
        }
        next.retain(|_, targets| !targets.is_empty());
        if next.len() == left.len() {
            break;
        }
    }
    let mut way = vec![next.keys().next()?.clone()];
    loop {
        let target = next.get(way.last()?)?.first()?;
        if let Some(begin) = way.iter().position(|file| file == target) {
            way.drain(..begin);
            way.push(target.clone());
            return Some(way);
        }
        way.push(target.clone());
    }
}

/// The places where a crate names others that it must not name.
fn named(folder: &str, manifest: &str, tree: &Tree, others: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for other in others.split(' ') {
        let depends = |line: &str| {
            let name = line.trim_start().strip_prefix(other);
            name.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        };
        if manifest.lines().any(depends) {
            wrong.push(format!("{folder}/Cargo.toml: depends on {other}"));
        }
        let word = format!("{}::", other.replace('-', "_"));
        for (file, source) in &tree.0 {
            for (line, _) in source.words(&word) {
                wrong.push(format!("{folder}/src/{file}:{line}: names {other}"));
            }
        }
    }
    wrong
}

/// The files and folders that the map names but that do not exist.
fn not_there(workspace: &Path, map: &str) -> Vec<String> {
    let quoted = map.split('`').skip(1).step_by(2);
    let is_path =
        |text: &&str| text.contains('/') && (text.ends_with(".rs") || text.ends_with('/'));
    let paths = quoted.filter(is_path);
    let exists = |path: &str| STARTS.map(|start| workspace.join(start).join(path).exists());
    let missing = paths.filter(|path| !exists(path).contains(&true));
    missing
        .map(|path| format!("{MAP}: {path} does not exist"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &Crate = &CRATES[0];

    /// An engine that follows the rules, with one file replaced or added.
    fn complaints(planted: &str, source: &str) -> Vec<String> {
        let lib = "mod api;\nmod cache;\nmod engine;\npub use self::api::error::EngineError;";
        let engine = "use crate::cache::Cache;\nuse crate::delivery::pass;";
        let error = "/// As `crate::cache` has it.\npub enum EngineError {}";
        let cache = "use crate::EngineError;\npub fn read() { self.store.oldest(1) }";
        let pass = "use crate::{EngineError, cache::{self, Cache}};";
        let mut files = BTreeMap::from([
            ("lib.rs", lib),
            ("engine.rs", engine),
            ("api/mod.rs", "pub(crate) mod error;"),
            ("api/error.rs", error),
            ("cache/mod.rs", cache),
            ("delivery/mod.rs", "pub(crate) mod pass;"),
            ("delivery/pass.rs", pass),
        ]);
        files.insert(planted, source);
        ENGINE.complaints(&Tree::of(files))
    }

    fn complains(planted: &str, source: &str, of: &str) -> bool {
        let wrong = complaints(planted, source);
        wrong.len() == 1 && wrong[0].contains(of)
    }

    #[test]
    fn a_crate_in_order_is_accepted() {
        assert_eq!(complaints("api/mod.rs", "pub(crate) mod error;"), [""; 0]);
    }

    #[test]
    fn an_import_of_a_room_above_is_told_in_whatever_way_it_is_written() {
        for import in [
            "use crate::delivery::pass::Pass;",
            "use crate::{EngineError, delivery::{pass::Pass}};",
            "use super::super::delivery::pass;",
            "fn f() -> crate::delivery::pass::Pass { loop {} }",
            "fn f() { let x = \"\\\"\"; crate::delivery::pass::run('\"') }",
        ] {
            let of = "cache/batch.rs:1: cache may not import delivery";
            assert!(complains("cache/batch.rs", import, of), "{import}");
        }
        // Imported by the name that the root re-exports.
        let lib = "pub use self::delivery::pass::Pass;";
        let mut files = BTreeMap::from([("lib.rs", lib), ("delivery/pass.rs", "")]);
        files.insert("cache/mod.rs", "\nuse crate::Pass;");
        let wrong = ENGINE.complaints(&Tree::of(files));
        assert!(wrong[0].contains("cache/mod.rs:2"), "{wrong:?}");
    }

    #[test]
    fn comments_strings_and_unit_tests_may_say_what_they_like() {
        for source in [
            "// use crate::delivery::pass::Pass;",
            "/* use crate::delivery::pass; */",
            "const A: &str = \"use crate::delivery::pass\";",
            "const A: &str = r#\"use \"crate::delivery::pass\"#;",
            "#[cfg(test)]\nmod tests { use crate::delivery::pass::Pass; }",
        ] {
            assert_eq!(complaints("cache/batch.rs", source), [""; 0], "{source}");
        }
    }

    #[test]
    fn a_file_in_no_room_is_told() {
        assert!(complains("evict.rs", "", "evict.rs: is in no room"));
    }

    #[test]
    fn a_call_of_the_store_outside_the_cache_is_told() {
        let call = "fn f() {\n    self.store\n        .settle(settlement)\n}";
        let of = "delivery/pass.rs:2: only cache";
        assert!(complains("delivery/pass.rs", call, of));
    }

    #[test]
    fn a_timer_or_a_task_outside_of_the_seam_is_told() {
        for source in [
            "use tokio::time::sleep;",
            "fn f() { tokio::spawn(async {}); }",
            "fn f() { SystemTime::now(); }",
        ] {
            let of = "delivery/pass.rs:1: only lifecycle";
            assert!(complains("delivery/pass.rs", source, of), "{source}");
            assert_eq!(complaints("lifecycle/runtime/native.rs", source), [""; 0]);
        }
    }

    #[test]
    fn a_service_that_the_engine_names_is_told() {
        for source in [
            "use aws_smithy_types::Blob;",
            "const A: &str = \"AccessDeniedException\";",
        ] {
            let told = complains("delivery/pass.rs", source, "only aws");
            assert!(told, "{source}");
            assert_eq!(complaints("aws/mod.rs", source), [""; 0]);
        }
    }

    #[test]
    fn the_table_has_no_circle() {
        for rules in &CRATES {
            let mut free: Vec<&str> = Vec::new();
            for _ in rules.rooms {
                let of_free = |may: &str| may.split_whitespace().all(|room| free.contains(&room));
                let mut next = rules.rooms.iter().filter(|(room, _)| !free.contains(room));
                let next = next.find(|(_, may)| of_free(may));
                free.extend(next.map(|(room, _)| *room));
            }
            assert_eq!(free.len(), rules.rooms.len(), "{}", rules.folder);
        }
    }

    #[test]
    fn a_circle_of_files_is_told_and_a_way_with_an_end_is_not() {
        let tree = |flags| {
            let main = ("main.rs", "use self::ci::run;");
            let ci = ("ci.rs", "use crate::flags::Flags;");
            Tree::of([main, ci, ("flags.rs", flags)].into())
        };
        assert_eq!(circle(&tree("pub struct Flags;")), None);
        assert_eq!(circle(&tree("use crate::{flags::Flags,};")), None);
        let found = circle(&tree("use super::ci::Step;")).unwrap();
        assert_eq!(found, ["ci.rs", "flags.rs", "ci.rs"]);
    }

    #[test]
    fn a_file_on_the_map_that_does_not_exist_is_reported() {
        let map = "`cache/mod.rs`, `cache/`, `cache/gone.rs`, `gone/`, `flush()`, `s/gone`";
        let missing = not_there(shell::workspace(), map);
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].contains("cache/gone.rs") && missing[1].contains("gone/"));
    }

    #[test]
    fn crates_that_know_nothing_of_each_other_are_held_to_it() {
        let tree = |source| Tree::of([("lib.rs", source)].into());
        let wrong = |manifest, source| named("a", manifest, &tree(source), "record-cache");
        let comments = "// record_cache::Record\n/// record_cache::Record\nstruct A;";
        assert_eq!(wrong("bytes.workspace = true", comments), [""; 0]);
        assert_eq!(wrong("record-cache.workspace = true", "").len(), 1);
        assert_eq!(wrong("", "use record_cache::Record;").len(), 1);
    }
}
