//! Checks that `docs/operations.md` explains every log line meant for an operator.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::path::Path;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The messages in a source text at INFO and above: the last literal of each macro.
fn messages(source: &str) -> Vec<&str> {
    let macros = ["tracing::info!(", "tracing::warn!(", "tracing::error!("];
    let begun = macros.iter().flat_map(|start| source.split(start).skip(1));
    begun
        .filter_map(|rest| {
            // The message comes last, and the macro closes behind it.
            let mut literals = rest.split('"').skip(1).step_by(2);
            let target = literals.next()?;
            let message = literals.next()?;
            (target == "record_cache").then_some(message)
        })
        .collect()
}

fn all_messages(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all_messages(&path));
        } else {
            let source = fs::read_to_string(path).unwrap();
            found.extend(messages(&source).into_iter().map(str::to_owned));
        }
    }
    found
}

#[test]
fn each_message_is_explained() {
    let found = all_messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.len() > 9, "{found:?}");
    for message in &found {
        // The page must contain the message's first clause. The wording around it is free.
        let clause = message.split(';').next().unwrap();
        assert!(OPERATIONS.contains(clause), "{message:?} is not explained");
    }
}
