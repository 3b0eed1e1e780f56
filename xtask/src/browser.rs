//! `cargo xtask browser`: serves the page of `examples/browser`, with an endpoint for it.

use anyhow::{Context, Result};

use crate::endpoint;
use crate::flags::{BrowserFlags, EndpointFlags, EngineFlags};
use crate::ports::browser::{Builder, Clicks};

/// Serves the page until it is interrupted.
///
/// # Errors
/// If the page cannot be built, or a port is taken.
pub(crate) async fn run(flags: BrowserFlags) -> Result<()> {
    let clicks = Clicks::build(&Builder::find().await?).await?;
    let page = clicks.serve(flags.port).await;
    let page = page.context("cannot serve the page; --port takes another port")?;
    let endpoint = flags.endpoint;
    eprintln!("open {}?endpoint=http://127.0.0.1:{endpoint}", page.url());
    endpoint::run(EndpointFlags {
        payloads: true,
        port: endpoint,
        latency: 0,
        localstack: false,
        engine: EngineFlags::default(),
    })
    .await
}
