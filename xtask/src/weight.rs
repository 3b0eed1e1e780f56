//! `cargo xtask weight`: what a client adds to a program that already has the AWS SDK.
//!
//! It compares two programs outside the workspace, one with only the SDK's client and one with
//! ours: the crates that are compiled and, with `--size`, the size of the stripped programs. The
//! figures are in `docs/weight.md`; CI limits the number of crates.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};

use crate::flags::WeightFlags;
use crate::shell;

/// The most crates that a client may add, including itself and other crates of this workspace.
const MOST_CRATES: usize = 29;

const SERVICES: [&str; 2] = ["kinesis", "firehose"];

/// Counts crates, and measures sizes on request.
///
/// # Errors
/// If a client adds too many crates, or if the programs cannot be examined.
///
/// # Cancel safety
/// Ends the started processes.
pub(crate) async fn run(flags: WeightFlags) -> Result<()> {
    let directory = shell::target()?.join("weight");
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header([
        "client",
        "crates with the SDK alone",
        "with the client",
        "added",
        "bytes added, stripped",
    ]);
    let mut too_many = Vec::new();
    for service in SERVICES {
        let bare = Program::bare(&directory, service)?;
        let client = Program::with_client(&directory, service)?;
        let (without, with) = (bare.crates().await?, client.crates().await?);
        let added: Vec<_> = with.difference(&without).collect();
        let size = match flags.size {
            true => size_added(&bare, &client).await?,
            false => String::new(),
        };
        table.add_row([
            format!("amplify-{service}"),
            without.len().to_string(),
            with.len().to_string(),
            added.len().to_string(),
            size,
        ]);
        eprintln!("amplify-{service} adds: {}", list(&added));
        if added.len() > MOST_CRATES {
            too_many.push(format!("amplify-{service} adds {}", added.len()));
        }
    }
    println!("{table}");
    if !too_many.is_empty() {
        bail!(
            "{}, {MOST_CRATES} are allowed: is the new one worth its build to every user?",
            too_many.join(", ")
        );
    }
    Ok(())
}

fn list(added: &[&String]) -> String {
    let names = added.iter().map(|name| name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

async fn size_added(bare: &Program, client: &Program) -> Result<String> {
    let (bare, client) = (bare.size().await?, client.size().await?);
    Ok(format!(
        "{} ({bare} → {client})",
        client.saturating_sub(bare)
    ))
}

/// A program outside the workspace.
struct Program {
    name: String,
    directory: PathBuf,
}

impl Program {
    fn bare(directory: &Path, service: &str) -> Result<Self> {
        let dependency = format!("aws-sdk-{service} = \"1\"");
        let main = format!(
            "#[tokio::main]\nasync fn main() {{\n    \
             let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;\n    \
             let client = aws_sdk_{service}::Client::new(&config);\n    \
             println!(\"{{:?}}\", {}.await);\n}}\n",
            match service {
                "kinesis" => "client.put_records().stream_name(\"s\").send()",
                _ => "client.put_record_batch().delivery_stream_name(\"s\").send()",
            }
        );
        Self::write(directory, format!("bare-{service}"), &dependency, &main)
    }

    fn with_client(directory: &Path, service: &str) -> Result<Self> {
        let library = shell::workspace().join(format!("crates/amplify-{service}"));
        let path = library.display().to_string();
        let dependency = format!("amplify-{service} = {{ path = {path:?} }}");
        let example = library.join(format!("examples/{service}_quick_start.rs"));
        let main = fs::read_to_string(&example)
            .with_context(|| format!("cannot read {}", example.display()))?;
        Self::write(directory, format!("client-{service}"), &dependency, &main)
    }

    fn write(directory: &Path, name: String, dependency: &str, main: &str) -> Result<Self> {
        let directory = directory.join(&name);
        fs::create_dir_all(directory.join("src"))?;
        // The same versions as in the workspace; cargo drops unused ones.
        fs::copy(
            shell::workspace().join("Cargo.lock"),
            directory.join("Cargo.lock"),
        )?;
        fs::write(directory.join("src/main.rs"), main)?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [workspace]\n\n[dependencies]\n{dependency}\n\
             aws-config = {{ version = \"1.13\", default-features = false, \
             features = [\"default-https-client\", \"rt-tokio\"] }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n\n\
             [profile.release]\nstrip = true\n"
        );
        fs::write(directory.join("Cargo.toml"), manifest)?;
        Ok(Self { name, directory })
    }

    /// The crates compiled for the program, including build scripts, without itself.
    async fn crates(&self) -> Result<BTreeSet<String>> {
        let mut tree = shell::cargo(["tree", "--edges", "normal,build", "--prefix", "none"]);
        tree.args(["--format", "{p}", "--manifest-path"])
            .arg(self.directory.join("Cargo.toml"));
        let tree = shell::output(&mut tree)
            .await
            .with_context(|| format!("`cargo tree` of {} failed", self.name))?;
        let crates = tree.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            (name != self.name).then(|| format!("{name} {version}"))
        });
        Ok(crates.collect())
    }

    async fn size(&self) -> Result<u64> {
        let target = self.directory.with_file_name("target");
        let mut build = shell::cargo(["build", "--release", "--manifest-path"]);
        build
            .arg(self.directory.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target);
        shell::run(&mut build).await?;
        Ok(fs::metadata(target.join("release").join(&self.name))?.len())
    }
}
