//! Scenarios that happen to pages, and how their store must respond.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::page::Page;
use crate::shell;
use crate::webdriver::{Driver, Session};

/// How often the browser is killed.
const KILLS: u64 = 10;

/// How often Chromium may lose its database to that. It does after one kill in about 70: see
/// docs/browser.md.
const MOST_LOSSES: u64 = 2;

/// Maps a name that the browser does not trust to the page's address.
const NAMES: &str = "--host-resolver-rules=MAP insecure.test 127.0.0.1";

/// Shared by all scenarios.
struct Scene<'a> {
    driver: &'a Driver,
    page: &'a Page,
}

/// Part of a scenario's name, if only some should run.
pub(super) fn only() -> Option<String> {
    env::var("BROWSER_SCENARIO").ok()
}

pub(super) async fn run(driver: &Driver, page: &Page) -> Result<()> {
    let scene = Scene { driver, page };
    told("what was stored survives kills", scene.kills()).await?;
    told("what was stored survives reloads", scene.reloads()).await?;
    told("tabs keep out of each other's records", scene.tabs()).await?;
    told("a lost value does not hold up others", scene.lost_values()).await?;
    told("a used up quota is a full disk", scene.quota()).await?;
    told("a page that may store nothing is told", scene.refusals()).await?;
    told("a private window stores as well", scene.private_window()).await?;
    told("10,000 records are stored and drained", scene.figures()).await
}

async fn told(what: &str, scenario: impl Future<Output = Result<()>>) -> Result<()> {
    if only().is_some_and(|only| !what.contains(&only)) {
        return Ok(());
    }
    scenario.await.with_context(|| what.to_owned())?;
    eprintln!("browser: {what}: passed");
    Ok(())
}

impl Scene<'_> {
    async fn browser(&self, directory: &Path) -> Result<Session<'_>> {
        self.browser_with(directory, &[], json!({})).await
    }

    async fn browser_with(
        &self,
        directory: &Path,
        arguments: &[&str],
        preferences: Value,
    ) -> Result<Session<'_>> {
        let browser = self.driver.browser(directory, arguments, preferences);
        let browser = browser.await?;
        browser.open(&self.page.url()).await?;
        Ok(browser)
    }

    async fn kills(&self) -> Result<()> {
        let directory = files()?;
        let (mut stored, mut killed, mut losses) = (0, 0, 0);
        loop {
            let browser = self.browser(directory.path()).await?;
            let is_strict = killed % 2 == 0;
            call(&browser, "open", &json!(["killed", false, is_strict])).await?;
            let found = in_order(&browser).await?;
            if found < stored {
                let made = browser.run("return window.made.join()", &[]).await?;
                let made = made.as_str().unwrap_or_default();
                losses += 1;
                ensure!(
                    found == 0 && made.starts_with("total: ") && losses <= MOST_LOSSES,
                    "of {stored} records, {found} survived kill {killed}"
                );
                eprintln!("browser: Chromium lost {stored} records at kill {killed}: {made}");
            }
            if killed == KILLS {
                eprintln!(
                    "browser: {found} records after {KILLS} kills, {stored} of them known to be stored"
                );
                return browser.quit().await;
            }
            stored = append_on(&browser, found).await?;
            browser.kill().await?;
            killed += 1;
        }
    }

    async fn reloads(&self) -> Result<()> {
        let directory = files()?;
        let browser = self.browser(directory.path()).await?;
        let mut stored = 0;
        for round in 0..10 {
            // The previous page held the lock until a moment ago.
            call(&browser, "open", &json!(["again", round % 2 == 0, true])).await?;
            let found = in_order(&browser).await?;
            ensure!(
                found >= stored,
                "of {stored} records, {found} survived a reload"
            );
            stored = append_on(&browser, found).await?;
            browser.reload().await?;
        }
        browser.quit().await
    }

    async fn tabs(&self) -> Result<()> {
        let directory = files()?;
        let browser = self.browser(directory.path()).await?;
        let one_user = json!(["one", false, true]);
        let several = json!(["several", true, true]);
        call(&browser, "open", &one_user).await?;
        call(&browser, "append", &json!([0, 10, 100])).await?;

        let first = browser.new_tab().await?;
        browser.open(&self.page.url()).await?;
        refused(&browser, &one_user, "in use").await?;
        let slot = call(&browser, "open", &several).await?;
        ensure!(slot == 0, "the first slot is free");
        call(&browser, "append", &json!([0, 10, 100])).await?;

        let second = browser.new_tab().await?;
        browser.open(&self.page.url()).await?;
        let slot = call(&browser, "open", &several).await?;
        ensure!(slot == 1, "the first slot is taken");
        call(&browser, "append", &json!([10, 1_200, 100])).await?;
        call(&browser, "settle", &json!([0, 3])).await?;
        browser.close_tab().await?;

        browser.go_to(&second).await?;
        ensure!(in_order(&browser).await? == 10, "only its own");
        browser.reload().await?;
        let slot = call(&browser, "open", &several).await?;
        ensure!(slot == 0, "it has its slot again");
        let found = in_order(&browser).await?;
        ensure!(
            found == 1_210,
            "{found} records are there, with those of the closed tab"
        );
        let attempts = attempts(&browser).await?;
        let counted: Vec<usize> = (0..attempts.len()).filter(|&at| attempts[at] > 0).collect();
        ensure!(
            counted == [10, 11, 12],
            "attempts are taken over too, not {counted:?}"
        );
        browser.close_tab().await?;

        browser.go_to(&first).await?;
        ensure!(in_order(&browser).await? == 10, "undisturbed");
        let _old = browser.new_tab().await?;
        browser.open(&self.page.url()).await?;
        refused(&browser, &one_user, "in use").await?;
        browser.go_to(&first).await?;
        call(&browser, "close", &json!([])).await?;
        browser.reload().await?;
        call(&browser, "open", &one_user).await?;
        browser.quit().await
    }

    /// Chromium keeps large values in files of their own, after it has compressed them.
    async fn lost_values(&self) -> Result<()> {
        const LARGE: usize = 4_000_000;
        let directory = files()?;
        let browser = self.browser(directory.path()).await?;
        let open = json!(["lost", true, true]);
        call(&browser, "open", &open).await?;
        for (number, bytes) in [(0, 10), (1, LARGE), (2, 10)] {
            call(&browser, "append", &json!([number, 1, bytes])).await?;
        }
        browser.new_tab().await?;
        browser.open(&self.page.url()).await?;
        call(&browser, "open", &open).await?;
        for (number, bytes) in [(3, 10), (4, LARGE), (5, 10)] {
            call(&browser, "append", &json!([number, 1, bytes])).await?;
        }
        browser.quit().await?;
        let lost = remove_large_values(&directory.path().join("Default/IndexedDB"))?;
        ensure!(lost == 2, "{lost} values were in files of their own");

        let browser = self.browser(directory.path()).await?;
        let slot = call(&browser, "open", &open).await?;
        ensure!(slot == 0, "the first slot is free");
        let numbers = call(&browser, "numbers", &json!([])).await?;
        ensure!(
            numbers == json!([0, 2, 3, 5]),
            "the others are read, not {numbers}"
        );
        let stats = call(&browser, "stats", &json!([])).await?;
        ensure!(
            stats[0] == 4 && stats[2] == 2,
            "the lost ones are counted: {stats}"
        );
        browser.quit().await
    }

    async fn quota(&self) -> Result<()> {
        const QUOTA: u64 = 4 << 20;
        const OVERRIDE: &str = "Storage.overrideQuotaForOrigin";
        let directory = files()?;
        let browser = self.browser(directory.path()).await?;
        let open = json!(["quota", false, true]);
        call(&browser, "open", &open).await?;
        let origin = self.page.origin();
        let quota = json!({"origin": origin, "quotaSize": QUOTA});
        browser.devtools(OVERRIDE, quota).await?;
        let mut stored = 0;
        let why = loop {
            match call(&browser, "append", &json!([stored, 1, 20_000])).await {
                Ok(_) => stored += 1,
                Err(error) => break format!("{error:#}"),
            }
            ensure!(stored < 10_000, "the quota does not work");
        };
        ensure!(
            why.contains("unavailable:") && why.contains("QuotaExceededError"),
            "{why}"
        );
        // Small records may still fit; after them, nothing does.
        let mut small = stored;
        let append_small = async |number| call(&browser, "append", &json!([number, 1, 4])).await;
        while append_small(small).await.is_ok() {
            small += 1;
            ensure!(small < 50_000, "the quota does not work");
        }
        let found = in_order(&browser).await?;
        ensure!(found == small, "of {small} records, {found} are there");
        let settled = call(&browser, "settle", &json!([5, 5])).await?;
        ensure!(settled == 5, "settling goes on");
        let counted = [1, 1, 1, 1, 1, 0];
        let mut found = attempts(&browser).await?;
        found.truncate(counted.len());
        ensure!(found == counted, "attempts are counted: {found:?}");
        let stats = call(&browser, "stats", &json!([])).await?;
        ensure!(stats[0] == small - 5, "and records");
        browser
            .devtools(OVERRIDE, json!({"origin": origin}))
            .await?;
        append_small(small).await?;
        call(&browser, "close", &json!([])).await?;
        browser.reload().await?;
        call(&browser, "open", &open).await?;
        let mut found = attempts(&browser).await?;
        found.truncate(counted.len());
        ensure!(found == counted, "and kept once there is room: {found:?}");
        let cleared = call(&browser, "clear", &json!([])).await?;
        ensure!(cleared == small - 4, "all are cleared");
        browser.quit().await
    }

    async fn refusals(&self) -> Result<()> {
        let open = json!(["refused", false, true]);
        let directory = files()?;
        let nothing = json!({"profile.default_content_setting_values.cookies": 2});
        let browser = self.browser_with(directory.path(), &[], nothing).await?;
        refused(&browser, &open, "refused").await?;
        browser.quit().await?;

        let directory = files()?;
        let browser = self.browser_with(directory.path(), &[NAMES], json!({}));
        let browser = browser.await?;
        let framed = browser.run(SANDBOXED, &[]).await?;
        let framed = framed.as_str().unwrap_or_default();
        ensure!(
            framed.starts_with("refused:"),
            "a frame in a sandbox: {framed}"
        );
        browser.open(&self.page.insecure_url()).await?;
        refused(&browser, &open, "refused").await?;
        browser.quit().await
    }

    async fn private_window(&self) -> Result<()> {
        let directory = files()?;
        let browser = self.browser_with(directory.path(), &["--incognito"], json!({}));
        let browser = browser.await?;
        call(&browser, "open", &json!(["private", false, true])).await?;
        call(&browser, "append", &json!([0, 10, 1_000])).await?;
        ensure!(in_order(&browser).await? == 10, "all are there");
        browser.quit().await
    }

    async fn figures(&self) -> Result<()> {
        let directory = files()?;
        let browser = self.browser(directory.path()).await?;
        for (is_strict, tasks, records) in [
            (true, 1, 1_000),
            (true, 64, 10_000),
            (false, 1, 10_000),
            (false, 64, 10_000),
        ] {
            let name = format!("figures-{is_strict}-{tasks}");
            call(&browser, "open", &json!([name, false, is_strict])).await?;
            let sizes = json!([records, 1_024, tasks, 500]);
            let seconds = call(&browser, "measure", &sizes).await?;
            let durability = if is_strict { "strict" } else { "relaxed" };
            let rate = |seconds: &Value| f64::from(records) / seconds.as_f64().unwrap_or_default();
            eprintln!(
                "browser: {records} records of 1 KiB, {durability}, tasks: {tasks}: {:.0} stored in a \
                 second, {:.0} read and deleted",
                rate(&seconds[0]),
                rate(&seconds[1]),
            );
        }
        browser.quit().await
    }
}

/// Opens a store in a frame that has no origin.
const SANDBOXED: &str = r#"
    const script = `
        import init, * as page from "${location.origin}/browser_page.js";
        await init();
        page.open("framed", false, true).then(() => "opened", String)
            .then(said => parent.postMessage(said, "*"));`;
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script type="module">${script}</script>`;
    const said = new Promise(keep => addEventListener("message", event => keep(event.data)));
    document.body.append(frame);
    return await said;
"#;

/// Deletes the files of all values that are not in the database itself. Returns how many there were.
fn remove_large_values(databases: &Path) -> Result<usize> {
    let mut removed = 0;
    let mut directories = Vec::new();
    for entry in fs::read_dir(databases)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "blob") {
            directories.push(path);
        }
    }
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// A directory for a browser's files, on the workspace's disk.
fn files() -> Result<TempDir> {
    Ok(TempDir::new_in(shell::target()?.join("ports"))?)
}

/// Calls a function of the page.
async fn call(browser: &Session<'_>, function: &str, arguments: &Value) -> Result<Value> {
    let script = "const [name, given] = arguments; await ready; return await page[name](...given)";
    let given = [json!(function), arguments.clone()];
    let called = browser.run(script, &given).await;
    called.with_context(|| format!("{function}{arguments}"))
}

/// Opens a store, which must fail in this way.
async fn refused(browser: &Session<'_>, arguments: &Value, kind: &str) -> Result<()> {
    match call(browser, "open", arguments).await {
        Ok(value) => bail!("open{arguments}: {value}, but should be {kind}"),
        Err(error) if error.root_cause().to_string().starts_with(kind) => Ok(()),
        Err(error) => Err(error.context(format!("should be {kind}"))),
    }
}

/// The number of records, if each number occurs once and in order.
async fn in_order(browser: &Session<'_>) -> Result<u64> {
    let numbers = call(browser, "numbers", &json!([])).await?;
    let numbers: Vec<u64> = serde_json::from_value(numbers).context("no list of numbers")?;
    for (number, place) in numbers.iter().zip(0..) {
        ensure!(*number == place, "record {number} is at place {place}");
    }
    Ok(numbers.len() as u64)
}

/// The attempt counts of the oldest records.
async fn attempts(browser: &Session<'_>) -> Result<Vec<u64>> {
    let attempts = call(browser, "attempts", &json!([])).await?;
    Ok(serde_json::from_value(attempts)?)
}

/// Has the page append records endlessly, numbered from `first`. Returns how many are stored, once more
/// than 20 of them are.
async fn append_on(browser: &Session<'_>, first: u64) -> Result<u64> {
    call(browser, "append_on", &json!([first, 1_000])).await?;
    loop {
        let stored = browser.run("return window.stored", &[]).await?;
        if let Some(stored) = stored.as_u64().filter(|stored| *stored > first + 20) {
            return Ok(stored);
        }
        sleep(Duration::from_millis(5)).await;
    }
}
