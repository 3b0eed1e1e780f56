//! Links between the documents lead somewhere.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        workspace(),
        workspace().join("docs"),
        workspace().join("examples"),
    ];
    for folder in fs::read_dir(workspace().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        folders.push(folder.join("docs"));
        folders.push(folder);
    }
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The link targets in a text: `[words](target)`.
fn targets(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split(')').next());
    let is_ours = |target: &&str| {
        let is_path = target.contains('/') || target.contains(".md") || target.starts_with('#');
        is_path && !target.contains("://") && !target.contains("::") && !target.contains(' ')
    };
    targets.filter(is_ours).collect()
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in targets(&text) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: {target}", document.display());
            if heading.is_empty() {
                continue;
            }
            let there = fs::read_to_string(&path).unwrap();
            let headings = there.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(anchor);
            assert!(
                anchors.any(|anchor| anchor == heading),
                "{}: {target}",
                document.display()
            );
        }
    }
    assert!(links > 50, "{links}");
}
