//! `cargo xtask weight`: what a client adds to a program that already has the AWS SDK.
//!
//! It compares two programs outside the workspace, one with only the SDK's client and one with
//! ours: the crates that are compiled and, with `--size`, the size of the stripped programs. The
//! figures are in `docs/weight.md`; CI limits the number of crates.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::flags::WeightFlags;
use crate::outside::{self, AWS_CONFIG, Outside, TOKIO};
use crate::progress::table;
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
    let mut table = table([
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
        let added: Vec<&str> = with.difference(&without).map(String::as_str).collect();
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
        eprintln!("amplify-{service} adds: {}", added.join(", "));
        if added.len() > MOST_CRATES {
            too_many.push(format!("amplify-{service} adds {}", added.len()));
        }
    }
    println!("{table}");
    ensure!(
        too_many.is_empty(),
        "{}; at most {MOST_CRATES} are allowed: is the new one worth its build time for every user?",
        too_many.join(", ")
    );
    Ok(())
}

async fn size_added(bare: &Program, client: &Program) -> Result<String> {
    let (bare, client) = (bare.size().await?, client.size().await?);
    Ok(format!(
        "{} ({bare} → {client})",
        client.saturating_sub(bare)
    ))
}

/// A program outside the workspace.
struct Program(Outside);

impl Program {
    fn bare(directory: &Path, service: &str) -> Result<Self> {
        let dependency = format!("aws-sdk-{service} = \"1\"\n");
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
        let library = format!("amplify-{service}");
        let dependency = outside::dependency(&library, "");
        let main = outside::example(&library, &format!("{service}_quick_start.rs"))?;
        Self::write(directory, format!("client-{service}"), &dependency, &main)
    }

    fn write(directory: &Path, name: String, dependency: &str, main: &str) -> Result<Self> {
        let manifest = format!(
            "[dependencies]\n{dependency}{AWS_CONFIG}{TOKIO}\n[profile.release]\nstrip = true\n"
        );
        let program = Outside::write(directory.join(&name), name, &manifest, ("main.rs", main))?;
        Ok(Self(program))
    }

    /// The crates compiled for the program, including build scripts, without itself.
    async fn crates(&self) -> Result<BTreeSet<String>> {
        let name = &self.0.name;
        let tree = "tree --edges normal,build --prefix none --format {p}";
        let tree = shell::output(&mut self.0.cargo(tree))
            .await
            .with_context(|| format!("`cargo tree` of {name} failed"))?;
        let crates = tree.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (crate_name, version) = (words.next()?, words.next()?);
            (crate_name != name).then(|| format!("{crate_name} {version}"))
        });
        Ok(crates.collect())
    }

    async fn size(&self) -> Result<u64> {
        shell::run(&mut self.0.cargo("build --release")).await?;
        let built = self.0.directory.with_file_name("target").join("release");
        Ok(fs::metadata(built.join(&self.0.name))?.len())
    }
}
