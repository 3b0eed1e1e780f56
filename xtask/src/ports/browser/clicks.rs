//! The page of `examples/browser`: builds it, checks its size, serves it and tests it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amplify_test_support::FakeAws;
use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::super::toolchain::PAGES;
use super::page::Page;
use super::tools::{Builder, built};
use crate::shell;
use crate::webdriver::{Driver, Session};

const NAME: &str = "browser-example";
const STREAM: &str = "clicks";

/// The maximum size of the page's WebAssembly with gzip.
const MOST_BYTES: usize = 1536 * 1024;

/// Far longer than any wait takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The built page.
#[derive(Debug)]
pub(crate) struct Clicks {
    directory: PathBuf,
}

impl Clicks {
    /// Builds the page, as small as possible.
    ///
    /// # Errors
    /// If the build fails, or the page is too large.
    pub(crate) async fn build(builder: &Builder) -> Result<Self> {
        let mut cargo = builder.cargo("build")?;
        cargo.args(["--profile=browser", "--package", NAME]);
        shell::run(&mut cargo).await?;
        let wasm = built()?.join(PAGES).join("browser").join(NAME);
        let directory = shell::target()?.join("ports/clicks");
        let wasm = wasm.with_extension("wasm");
        builder.bindgen(&wasm, &directory).await?;
        let this = Self { directory };
        this.measure()?;
        Ok(this)
    }

    fn measure(&self) -> Result<()> {
        let wasm = fs::read(self.directory.join(format!("{NAME}_bg.wasm")))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&wasm)?;
        let compressed = gzip.finish()?.len();
        let kib = |bytes: usize| bytes.div_ceil(1024);
        eprintln!(
            "the page's WebAssembly: {} KiB, {} KiB by gzip (at most {} KiB)",
            kib(wasm.len()),
            kib(compressed),
            kib(MOST_BYTES)
        );
        ensure!(compressed <= MOST_BYTES, "the page is too large");
        Ok(())
    }

    /// Serves the page on a local port; 0 takes a free one.
    pub(crate) async fn serve(&self, port: u16) -> Result<Page> {
        let html = shell::workspace().join("examples/browser/page/index.html");
        Page::serve(self.directory.clone(), fs::read_to_string(html)?, port).await
    }
}

pub(super) async fn run(driver: &Driver, clicks: &Clicks) -> Result<()> {
    let scene = Scene {
        driver,
        page: clicks.serve(0).await?,
        aws: FakeAws::start(),
    };
    scene.offline().await?;
    eprintln!(
        "browser: what was recorded offline survives a reload and a kill, and arrives: passed"
    );
    scene.tabs().await?;
    eprintln!("browser: what a closed tab left is sent by the next one: passed");
    Ok(())
}

/// Shared by all scenarios.
struct Scene<'a> {
    driver: &'a Driver,
    page: Page,
    aws: FakeAws,
}

impl Scene<'_> {
    async fn browser(&self, directory: &Path) -> Result<Session<'_>> {
        let browser = self.driver.browser(directory, &[], json!({})).await?;
        self.open(&browser).await?;
        Ok(browser)
    }

    async fn open(&self, browser: &Session<'_>) -> Result<()> {
        let endpoint = self.aws.endpoint_url();
        browser
            .open(&format!("{}?endpoint={endpoint}", self.page.url()))
            .await?;
        wait_for(browser, "storage", |text| text.contains("database")).await
    }

    async fn offline(&self) -> Result<()> {
        let directory = TempDir::new()?;
        self.aws.stop();
        let browser = self.browser(directory.path()).await?;
        let mut recorded = click(&browser, 12).await?;
        wait_for(&browser, "waiting", |text| text == "12").await?;
        browser.reload().await?;
        wait_for(&browser, "waiting", |text| text == "12").await?;
        recorded.extend(click(&browser, 30).await?);
        wait_for(&browser, "waiting", |text| text == "42").await?;
        picture(&browser).await?;
        browser.kill().await?;

        let browser = self.browser(directory.path()).await?;
        wait_for(&browser, "waiting", |text| text == "42").await?;
        recorded.extend(click(&browser, 3).await?);
        ensure!(
            self.aws.delivered_count() == 0,
            "records were delivered while offline"
        );
        self.aws.restart()?;
        wait_for(&browser, "waiting", |text| text == "0").await?;
        wait_for(&browser, "delivered", |text| text == "45").await?;
        ensure!(
            self.delivered() == recorded,
            "what arrived is not what was recorded"
        );
        if let [violation, ..] = self.aws.limit_violations().as_slice() {
            bail!("the service would have refused a request: {violation}");
        }
        browser.quit().await
    }

    async fn tabs(&self) -> Result<()> {
        let directory = TempDir::new()?;
        let before = self.delivered().len();
        self.aws.stop();
        let browser = self.browser(directory.path()).await?;
        let mut recorded = click(&browser, 2).await?;
        let place = said(&browser, "storage").await?;
        let first = browser.new_tab().await?;
        self.open(&browser).await?;
        let other = said(&browser, "storage").await?;
        ensure!(other != place, "both tabs have the slot of {place}");
        recorded.extend(click(&browser, 5).await?);
        browser.close_tab().await?;
        browser.go_to(&first).await?;
        wait_for(&browser, "waiting", |text| text == "2").await?;
        browser.reload().await?;
        wait_for(&browser, "waiting", |text| text == "7").await?;
        self.aws.restart()?;
        wait_for(&browser, "waiting", |text| text == "0").await?;
        ensure!(
            self.delivered()[before..] == recorded,
            "what arrived is not what was recorded"
        );
        browser.quit().await
    }

    fn delivered(&self) -> Vec<String> {
        let records = self.aws.delivered(STREAM).into_iter();
        records
            .map(|record| String::from_utf8_lossy(&record.data).into_owned())
            .collect()
    }
}

/// Clicks this many times. Returns what the clicks recorded.
async fn click(browser: &Session<'_>, times: usize) -> Result<Vec<String>> {
    const SCRIPT: &str = "
        const before = recorded.length
        for (let n = 0; n < arguments[0]; n++) await document.getElementById('click').onclick()
        return recorded.slice(before)";
    let recorded = browser.run(SCRIPT, &[json!(times)]).await?;
    let recorded: Vec<String> = serde_json::from_value(recorded)?;
    ensure!(
        recorded.len() == times,
        "of {times} clicks, {} were recorded",
        recorded.len()
    );
    Ok(recorded)
}

/// The text of one element of the page.
async fn said(browser: &Session<'_>, id: &str) -> Result<String> {
    const SCRIPT: &str = "return document.getElementById(arguments[0]).textContent";
    let said = browser.run(SCRIPT, &[json!(id)]).await?;
    Ok(said.as_str().unwrap_or_default().to_owned())
}

/// Waits until an element's text satisfies `is_it`.
async fn wait_for(browser: &Session<'_>, id: &str, is_it: impl Fn(&str) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let said = said(browser, id).await?;
        if is_it(&said) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{id} is still {said:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Takes a picture of the page, for `docs/`.
async fn picture(browser: &Session<'_>) -> Result<()> {
    let metrics = json!({"width": 760, "height": 720, "deviceScaleFactor": 1, "mobile": false});
    let _: Value = browser
        .devtools("Emulation.setDeviceMetricsOverride", metrics)
        .await?;
    let format = json!({"format": "png"});
    let taken = browser.devtools("Page.captureScreenshot", format).await?;
    let data = taken["data"].as_str().context("no picture")?;
    let png = base64_simd::STANDARD.decode_to_vec(data)?;
    fs::write(shell::target()?.join("ports/clicks.png"), png)?;
    Ok(())
}
