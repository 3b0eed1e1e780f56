//! `cargo xtask consumers`
//!
//! Cargo unifies features within a workspace, which hides features that a crate forgot to enable.
//! So this builds the examples again as external programs, each with one of our crates as a
//! dependency, and runs them against the loopback endpoint.

use std::fs;
use std::path::Path;

use amplify_test_support::FakeAws;
use anyhow::{Context, Result, bail};

use crate::outside::{self, AWS_CONFIG, Outside, TOKIO};
use crate::ports::PAGES;
use crate::ports::browser::has_the_target;
use crate::shell;

const CONSUMERS: [Consumer; 3] = [
    Consumer {
        name: "kinesis",
        library: "amplify-kinesis",
        example: "kinesis_quick_start.rs",
        other_dependencies: &[AWS_CONFIG, TOKIO],
        sends_records: true,
    },
    Consumer {
        name: "firehose",
        library: "amplify-firehose",
        example: "firehose_quick_start.rs",
        other_dependencies: &[AWS_CONFIG, TOKIO],
        sends_records: true,
    },
    Consumer {
        name: "record-cache",
        library: "record-cache",
        example: "job_queue.rs",
        other_dependencies: &[TOKIO],
        sends_records: false,
    },
];

/// A program outside the workspace.
struct Consumer {
    name: &'static str,
    library: &'static str,
    example: &'static str,
    other_dependencies: &'static [&'static str],
    sends_records: bool,
}

pub(crate) async fn run() -> Result<()> {
    let directory = shell::target()?.join("consumers");
    for consumer in &CONSUMERS {
        consumer
            .check(&directory)
            .await
            .with_context(|| format!("the program that depends only on {}", consumer.library))?;
    }
    if has_the_target().await {
        for library in ["amplify-kinesis", "amplify-firehose"] {
            check_page(&directory, library).await.with_context(|| {
                format!("the page that depends only on {library}, with the feature browser")
            })?;
        }
    } else {
        eprintln!("there is no standard library for {PAGES} here: pages are not checked");
    }
    Ok(())
}

/// Type-checks an external page that does not itself enable what the SDK lacks in a page.
async fn check_page(directory: &Path, library: &str) -> Result<()> {
    let name = format!("{library}-page");
    let features = r#", default-features = false, features = ["browser"]"#;
    let dependency = outside::dependency(library, features);
    let manifest = format!("[lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\n{dependency}");
    let crate_name = library.replace('-', "_");
    let source = format!("pub use {crate_name}::browser::PageCredentials;\n");
    let page = Outside::write(directory.join(&name), name, &manifest, ("lib.rs", &source))?;
    shell::run(&mut page.cargo(&format!("check --target {PAGES}"))).await?;
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

        let mut cargo = program.cargo("run");
        cargo
            .env("XDG_DATA_HOME", data)
            .env("TMPDIR", temporary)
            .env("AWS_ENDPOINT_URL", aws.endpoint_url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "example")
            .env("AWS_SECRET_ACCESS_KEY", "example");
        shell::run(&mut cargo).await?;

        let delivered = aws.delivered_count();
        if self.sends_records != (delivered > 0) {
            bail!("{delivered} records arrived");
        }
        if let [violation, ..] = aws.limit_violations().as_slice() {
            bail!("the service would have refused a request: {violation}");
        }
        eprintln!("{}: {delivered} records arrived", self.name);
        Ok(())
    }

    fn write(&self, directory: &Path) -> Result<Outside> {
        let manifest = format!(
            "[dependencies]\n{}{}\n[profile.dev]\ndebug = false\n",
            outside::dependency(self.library, ""),
            self.other_dependencies.concat()
        );
        let main = outside::example(self.library, self.example)?;
        let name = format!("{}-consumer", self.name);
        Outside::write(
            directory.join(self.name),
            name,
            &manifest,
            ("main.rs", &main),
        )
    }
}
