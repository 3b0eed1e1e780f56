//! `cargo xtask consumers`
//!
//! Cargo unifies features within a workspace, which hides features that a crate forgot to enable.
//! So this builds the examples again as external programs, each with one of our crates as a
//! dependency, and runs them against the loopback endpoint.

use std::fs;
use std::path::{Path, PathBuf};

use amplify_test_support::FakeAws;
use anyhow::{Context, Result, bail};

use crate::ports::browser::{TARGET, has_the_target};
use crate::shell;

const CONSUMERS: [Consumer; 3] = [
    Consumer {
        name: "kinesis",
        library: "amplify-kinesis",
        example: "kinesis_quick_start.rs",
        other_dependencies: AWS_CONFIG_AND_TOKIO,
        sends: Sends::Records,
    },
    Consumer {
        name: "firehose",
        library: "amplify-firehose",
        example: "firehose_quick_start.rs",
        other_dependencies: AWS_CONFIG_AND_TOKIO,
        sends: Sends::Records,
    },
    Consumer {
        name: "record-cache",
        library: "record-cache",
        example: "job_queue.rs",
        other_dependencies: TOKIO,
        sends: Sends::Nothing,
    },
];

const AWS_CONFIG_AND_TOKIO: &str = r#"
aws-config = { version = "1.13", default-features = false, features = ["default-https-client", "rt-tokio"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }"#;
const TOKIO: &str = r#"
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }"#;

/// A program outside the workspace.
struct Consumer {
    name: &'static str,
    library: &'static str,
    example: &'static str,
    other_dependencies: &'static str,
    sends: Sends,
}

#[derive(PartialEq, Eq)]
enum Sends {
    Records,
    Nothing,
}

pub(crate) async fn run() -> Result<()> {
    let directory = shell::target()?.join("consumers");
    for consumer in &CONSUMERS {
        consumer
            .check(&directory)
            .await
            .with_context(|| format!("the program that depends on {} only", consumer.library))?;
    }
    if has_the_target().await {
        for library in ["amplify-kinesis", "amplify-firehose"] {
            check_page(&directory, library).await.with_context(|| {
                format!("the page that depends on {library} with the feature browser only")
            })?;
        }
    } else {
        eprintln!("there is no standard library for {TARGET} here: pages are not checked");
    }
    Ok(())
}

/// Type-checks an external page that does not itself enable what the SDK lacks in a page.
async fn check_page(directory: &Path, library: &str) -> Result<()> {
    let workspace = shell::workspace();
    let page = directory.join(format!("{library}-page"));
    fs::create_dir_all(page.join("src"))?;
    fs::copy(workspace.join("Cargo.lock"), page.join("Cargo.lock"))?;
    let path = workspace.join("crates").join(library);
    let manifest = format!(
        r#"[package]
name = "{library}-page"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[lib]
crate-type = ["cdylib"]

[dependencies]
{library} = {{ path = {path:?}, default-features = false, features = ["browser"] }}
"#
    );
    fs::write(page.join("Cargo.toml"), manifest)?;
    let name = library.replace('-', "_");
    let source = format!("pub use {name}::browser::PageCredentials;\n");
    fs::write(page.join("src/lib.rs"), source)?;
    let mut cargo = shell::cargo(["check", "--target", TARGET, "--manifest-path"]);
    cargo
        .arg(page.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", directory.join("target"));
    shell::run(&mut cargo).await?;
    eprintln!("{library}: builds for pages");
    Ok(())
}

impl Consumer {
    async fn check(&self, directory: &Path) -> Result<()> {
        let program = self.write(directory)?;
        let data = directory.join("data").join(self.name);
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        // Programs leave their temporary files here instead of in the system's directory.
        let temporary = data.join("tmp");
        fs::create_dir_all(&temporary)?;
        let aws = FakeAws::start_on(([127, 0, 0, 1], 0).into())?;

        let mut cargo = shell::cargo(["run", "--manifest-path"]);
        cargo
            .arg(program.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", directory.join("target"))
            .env("XDG_DATA_HOME", data)
            .env("TMPDIR", temporary)
            .env("AWS_ENDPOINT_URL", aws.endpoint_url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "example")
            .env("AWS_SECRET_ACCESS_KEY", "example");
        shell::run(&mut cargo).await?;

        let delivered = aws.delivered_count();
        if (self.sends == Sends::Records) != (delivered > 0) {
            bail!("{delivered} records arrived");
        }
        if let [violation, ..] = aws.limit_violations().as_slice() {
            bail!("the service would have refused a request: {violation}");
        }
        eprintln!("{}: {delivered} records arrived", self.name);
        Ok(())
    }

    fn write(&self, directory: &Path) -> Result<PathBuf> {
        let workspace = shell::workspace();
        let library = workspace.join("crates").join(self.library);
        let program = directory.join(self.name);
        fs::create_dir_all(program.join("src"))?;
        // The same versions as in the workspace; cargo drops unused ones.
        fs::copy(workspace.join("Cargo.lock"), program.join("Cargo.lock"))?;
        fs::write(program.join("Cargo.toml"), self.manifest(&library))?;
        let example = library.join("examples").join(self.example);
        fs::copy(&example, program.join("src/main.rs"))
            .with_context(|| format!("cannot copy {}", example.display()))?;
        Ok(program)
    }

    fn manifest(&self, library: &Path) -> String {
        let Self {
            name,
            library: crate_name,
            other_dependencies,
            ..
        } = self;
        let path = library.display();
        format!(
            r#"[package]
name = "{name}-consumer"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[dependencies]
{crate_name} = {{ path = {path:?} }}{other_dependencies}

[profile.dev]
debug = false
"#,
            path = path.to_string()
        )
    }
}
