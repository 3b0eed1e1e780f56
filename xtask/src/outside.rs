//! Programs outside this workspace that depend on its crates.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::shell;

/// Dependencies of the examples, as lines of a manifest.
pub(crate) const AWS_CONFIG: &str = r#"aws-config = { version = "1.13", default-features = false, features = ["default-https-client", "rt-tokio"] }
"#;
pub(crate) const TOKIO: &str = r#"tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
"#;

/// A package outside the workspace.
pub(crate) struct Outside {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

impl Outside {
    /// Writes a package with one source file. `manifest` is what follows its usual beginning.
    pub(crate) fn write(
        directory: PathBuf,
        name: String,
        manifest: &str,
        (file, source): (&str, &str),
    ) -> Result<Self> {
        fs::create_dir_all(directory.join("src"))?;
        // The same versions as in the workspace; cargo drops unused ones.
        let lock = shell::workspace().join("Cargo.lock");
        fs::copy(lock, directory.join("Cargo.lock"))?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             publish = false\n\n[workspace]\n\n{manifest}"
        );
        fs::write(directory.join("Cargo.toml"), manifest)?;
        fs::write(directory.join("src").join(file), source)?;
        Ok(Self { name, directory })
    }

    /// Cargo for this package. Packages in the same directory share what is built.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = shell::cargo(arguments);
        command
            .arg("--manifest-path")
            .arg(self.directory.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", self.directory.with_file_name("target"));
        command
    }
}

/// The dependency on a crate of this workspace, as a line of a manifest.
pub(crate) fn dependency(library: &str, features: &str) -> String {
    let path = shell::workspace().join("crates").join(library);
    let path = path.display().to_string();
    format!("{library} = {{ path = {path:?}{features} }}\n")
}

/// The source of an example of a crate.
pub(crate) fn example(library: &str, file: &str) -> Result<String> {
    let examples = shell::workspace()
        .join("crates")
        .join(library)
        .join("examples");
    let path = examples.join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
