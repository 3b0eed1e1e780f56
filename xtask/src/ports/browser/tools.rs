//! Finds or installs the browser and the tools that build pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::process::Command;

use super::super::packages::{self, Missing};
use super::super::toolchain::{PAGES, Toolchain};
use crate::progress::Progress;
use crate::shell;
use crate::webdriver::ARGUMENTS;

const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Build settings of the program that generates JavaScript for a page. It runs for a second, so a
/// minute of optimising would be wasted.
const QUICKLY: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// The tools that build pages.
#[derive(Debug)]
pub(crate) struct Builder {
    /// The directory of `wasm-bindgen` and its test runner.
    bin: PathBuf,
    /// Needed if cargo's compiler has no standard library for pages.
    toolchain: Option<Toolchain>,
}

/// The tools that test pages.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(super) browser: PathBuf,
    pub(super) driver: PathBuf,
    pub(super) builder: Builder,
}

impl Builder {
    /// Finds everything or installs it.
    pub(crate) async fn find() -> Result<Self> {
        let toolchain = match has_the_target().await {
            true => None,
            false => Some(Toolchain::find().await?),
        };
        Ok(Self {
            bin: bindgen().await?,
            toolchain,
        })
    }

    /// Generates JavaScript and WebAssembly for pages from cargo's output.
    pub(super) async fn bindgen(&self, wasm: &Path, directory: &Path) -> Result<()> {
        let mut bindgen = Command::new(self.bin.join("wasm-bindgen"));
        bindgen
            .args(["--target=web", "--no-typescript", "--out-dir"])
            .arg(directory)
            .arg(wasm);
        shell::run(&mut bindgen).await
    }

    /// A cargo command that builds for pages.
    pub(super) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = match &self.toolchain {
            Some(toolchain) => toolchain.cargo(subcommand)?,
            None => {
                let mut command = shell::cargo(subcommand);
                command.env("CARGO_TARGET_DIR", built()?);
                command
            }
        };
        command.args(["--locked", "--target", PAGES]);
        Ok(command)
    }
}

impl Tools {
    /// Finds everything or installs it.
    pub(super) async fn find() -> Result<Self> {
        let (browser, driver) = packages::find(&PACKAGES, async || {
            let browser = found("chromium").await?;
            Some((browser, found("chromedriver").await?))
        })
        .await?;
        Ok(Self {
            browser,
            driver,
            builder: Builder::find().await?,
        })
    }

    /// The command for a package's tests within a page.
    pub(super) fn test(&self, package: &str, features: &str) -> Result<Command> {
        let settings = shell::target()?.join("ports/webdriver.json");
        let options = json!({"binary": self.browser, "args": ARGUMENTS});
        let options = json!({"goog:chromeOptions": options});
        fs::write(&settings, serde_json::to_vec(&options)?)?;
        let mut command = self.builder.cargo("test")?;
        command
            .args(["--package", package, "--no-default-features"])
            .args(["--features", features, "--test=browser"])
            .env("CHROMEDRIVER", &self.driver)
            .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", settings)
            .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
                self.builder.bin.join("wasm-bindgen-test-runner"),
            );
        Ok(command)
    }
}

/// The build directory for pages.
pub(super) fn built() -> Result<PathBuf> {
    Ok(shell::target()?.join("ports/build"))
}

async fn found(program: &str) -> Option<PathBuf> {
    let mut command = Command::new("sh");
    let path = shell::output(command.args(["-c", "command -v \"$0\"", program])).await?;
    Some(PathBuf::from(path))
}

/// Whether there is a standard library for pages.
pub(crate) async fn has_the_target() -> bool {
    let mut command = shell::command("rustc --print target-libdir --target");
    let command = command.arg(PAGES).current_dir(shell::workspace());
    let directory = shell::output(command).await;
    directory.is_some_and(|directory| Path::new(&directory).exists())
}

/// Builds wasm-bindgen's programs, which only understand the output of a library of the same
/// version.
async fn bindgen() -> Result<PathBuf> {
    let version = version_of("wasm-bindgen")?;
    let root = shell::target()?.join("ports/wasm-bindgen").join(&version);
    let bin = root.join("bin");
    if bin.join("wasm-bindgen").exists() {
        return Ok(bin);
    }
    let progress = Progress::start(format!("building wasm-bindgen-cli {version}"));
    let mut command = shell::cargo("install --quiet --no-default-features");
    command
        .arg(format!("--version={version}"))
        .arg("--root")
        .arg(&root)
        .arg("wasm-bindgen-cli")
        .envs(QUICKLY)
        .env("CARGO_TARGET_DIR", shell::target()?.join("ports/tools"))
        .stdout(Stdio::null());
    let installed = shell::run(&mut command).await;
    installed
        .map_err(|error| Missing(format!("wasm-bindgen-cli {version} is missing ({error:#})")))?;
    progress.done();
    Ok(bin)
}

/// The version of a package in the lock file.
fn version_of(package: &str) -> Result<String> {
    let lock = fs::read_to_string(shell::workspace().join("Cargo.lock"))?;
    let mut lines = lock.lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name);
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = \""))
        .and_then(|rest| rest.strip_suffix('"'));
    let version = version.with_context(|| format!("{package} is not in Cargo.lock"))?;
    Ok(version.to_owned())
}
