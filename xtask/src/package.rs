//! `cargo xtask package`: packages each crate and checks the requirements for publishing.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::shell;

/// Manifest fields that a published crate must have.
const FIELDS: [&str; 6] = [
    "description",
    "documentation",
    "license",
    "readme",
    "repository",
    "rust_version",
];
/// Files that a published crate must have.
const FILES: [&str; 3] = ["Cargo.toml", "LICENSE", "README.md"];
/// A name that belongs to another project on crates.io. The crate keeps it here, and is published
/// under another.
const TAKEN: &str = "batcher";
/// Prefix of the crates that decide the minimum Rust version.
const SDK: &str = "aws-sdk-";

/// Packages all crates in dependency order, without building them.
///
/// # Errors
/// If a crate lacks a field or a file, cannot be packaged, or needs a newer Rust than the AWS SDK.
///
/// # Cancel safety
/// Ends the started processes.
pub(crate) async fn run() -> Result<()> {
    let mut metadata = shell::cargo("metadata --format-version 1 --locked");
    let metadata = shell::output(&mut metadata)
        .await
        .context("`cargo metadata` failed")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().map_or(&[][..], |all| all);
    let ours = |package: &&Value| package["source"].is_null();
    let published = |package: &&Value| package["publish"].is_null();
    let crates: Vec<_> = packages.iter().filter(ours).filter(published).collect();
    let sdk = packages
        .iter()
        .filter(|package| text(package, "name").starts_with(SDK))
        .filter_map(rust_version)
        .min();
    let mut wrong = Vec::new();
    for package in &crates {
        let name = text(package, "name");
        for lacks in complaints(package) {
            wrong.push(format!("{name}: {lacks}"));
        }
        if rust_version(package) > sdk {
            wrong.push(format!("{name}: it needs a newer Rust than the AWS SDK"));
        }
        for file in missing_files(name).await? {
            wrong.push(format!("{name}: the package has no {file}"));
        }
        if name == TAKEN {
            eprintln!(
                "warning: `{name}` is another project's on crates.io; CONTRIBUTING.md, \"A release\", says \
                 how to publish it by another name"
            );
        }
    }
    ensure!(
        wrong.is_empty(),
        "not ready to be published:\n{}",
        wrong.join("\n")
    );
    // Building the crates would rebuild the SDK; the step `consumers` does that.
    let mut pack = shell::cargo("package --no-verify --allow-dirty --quiet");
    for package in &crates {
        pack.args(["--package", text(package, "name")]);
    }
    shell::run(&mut pack).await
}

fn complaints(package: &Value) -> Vec<String> {
    let lacking = FIELDS
        .iter()
        .filter(|field| text(package, field).is_empty());
    let mut wrong: Vec<_> = lacking.map(|field| format!("no {field}")).collect();
    if package["metadata"]["docs"]["rs"].is_null() {
        wrong.push("no metadata for docs.rs".to_owned());
    }
    wrong
}

async fn missing_files(name: &str) -> Result<Vec<&'static str>> {
    let mut list = shell::cargo("package --list --allow-dirty --package");
    let list = shell::output(list.arg(name))
        .await
        .with_context(|| format!("`cargo package --list` of {name} failed"))?;
    let is_missing = |file: &&&str| !list.lines().any(|line| line == **file);
    Ok(FILES.iter().filter(is_missing).copied().collect())
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Major, minor, patch.
fn rust_version(package: &Value) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> = text(package, "rust_version")
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    numbers.resize(3, 0);
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| rust_version(&json!({ "rust_version": text }));
        assert!(version("1.94") < version("1.94.1"));
        assert!(version("1.9") < version("1.10"));
        assert_eq!(version("1.94"), version("1.94.0"));
        assert_eq!(version("stable"), None);
    }

    #[test]
    fn a_package_that_lacks_something_is_told_what() {
        let mut package = json!({ "metadata": { "docs": { "rs": { "all-features": true } } } });
        for field in FIELDS {
            package[field] = json!("there");
        }
        assert!(complaints(&package).is_empty());
        package["repository"] = Value::Null;
        package["metadata"] = Value::Null;
        assert_eq!(
            complaints(&package),
            ["no repository", "no metadata for docs.rs"]
        );
    }
}
