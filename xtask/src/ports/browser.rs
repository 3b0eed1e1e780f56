//! Tests in a browser, headless Chromium: the store's own, within a page, and those that drive
//! pages from outside.

mod page;
mod scenarios;
mod tools;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use self::page::Page;
use self::tools::Tools;
use crate::shell;
use crate::webdriver::Driver;

/// Far more than a run takes: only one that hangs is ended by it.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run() -> Result<()> {
    let tools = Tools::find().await?;
    if scenarios::only().is_none() {
        within(shell::run(&mut tools.test()?)).await?;
    }
    let page = Page::build(&tools).await?;
    let driver = Driver::start(&tools.driver).await?;
    within(scenarios::run(&tools, &driver, &page)).await
}

async fn within(run: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(LIMIT, run)
        .await
        .context("the tests hang")
        .flatten()
}
