//! Tests in headless Chromium: the store's own tests within a page, and scenarios that drive pages
//! from outside.

mod clicks;
mod page;
mod scenarios;
mod tools;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

pub(crate) use self::clicks::Clicks;
use self::page::Page;
use self::tools::Tools;
pub(crate) use self::tools::{Builder, has_the_target};
use crate::shell;
use crate::webdriver::Driver;

/// Packages with tests that run within a page, and their features.
const SUITES: [(&str, &str); 3] = [
    ("record-cache", "browser,test-support"),
    ("amplify-kinesis", "browser"),
    ("amplify-firehose", "browser"),
];

/// Far longer than any run; ends only one that hangs.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run() -> Result<()> {
    let tools = Tools::find().await?;
    if scenarios::only().is_none() {
        for (package, features) in SUITES {
            // Builds may take longer than any test.
            shell::run(tools.test(package, features)?.arg("--no-run")).await?;
            within(shell::run(&mut tools.test(package, features)?)).await?;
        }
    }
    let page = Page::build(&tools.builder).await?;
    let driver = Driver::start(&tools.driver, &tools.browser).await?;
    within(scenarios::run(&driver, &page)).await?;
    let clicks = Clicks::build(&tools.builder).await?;
    within(clicks::run(&driver, &clicks)).await
}

async fn within(run: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(LIMIT, run)
        .await
        .context("the tests hang")
        .flatten()
}
