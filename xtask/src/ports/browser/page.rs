//! The page that scenarios drive, and a server for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::{Path as InUrl, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::super::toolchain::PAGES;
use super::tools::{Builder, built};
use crate::shell;

const NAME: &str = "browser_page";

/// Sets `page` to the exports of `tests/browser/page.rs` once everything is loaded, and `made` to
/// what Chromium says about each database that it made anew.
const HTML: &str = r#"<!doctype html><meta charset="utf-8"><title>records</title>
<script type="module">
window.made = [];
const open = IDBFactory.prototype.open;
IDBFactory.prototype.open = function(...given) {
  const request = open.apply(this, given);
  request.addEventListener("upgradeneeded", event =>
    window.made.push(`${event.dataLoss}: ${event.dataLossMessage}`));
  return request;
};
import init, * as page from "/browser_page.js";
window.ready = init().then(() => { window.page = page });
</script>"#;

/// A server of the page; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Page {
    address: SocketAddr,
    server: AbortHandle,
}

impl Page {
    /// Builds the page and serves it on a free port.
    pub(super) async fn build(builder: &Builder) -> Result<Self> {
        let mut cargo = builder.cargo("build")?;
        cargo
            .args(["--quiet", "--package=record-cache", "--no-default-features"])
            .args(["--features=browser", "--example", NAME]);
        shell::run(&mut cargo).await?;
        let wasm = built()?.join(PAGES).join("debug/examples");
        let directory = shell::target()?.join("ports/page");
        let wasm = wasm.join(NAME).with_extension("wasm");
        builder.bindgen(&wasm, &directory).await?;
        Self::serve(directory, HTML.to_owned(), 0).await
    }

    /// Serves a page, and the JavaScript and WebAssembly of a directory beside it.
    pub(super) async fn serve(directory: PathBuf, html: String, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let pages = Router::new()
            .route("/", get(async move || Html(html)))
            .route("/{file}", get(file))
            .with_state(Arc::<Path>::from(directory));
        let server = tokio::spawn(async move { axum::serve(listener, pages).await });
        Ok(Self {
            address,
            server: server.abort_handle(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/", self.origin())
    }

    /// Browsers allow pages all interfaces only over HTTPS or from this host.
    pub(super) fn origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// The same page under a name that browsers do not trust.
    pub(super) fn insecure_url(&self) -> String {
        format!("http://insecure.test:{}/", self.address.port())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn file(State(directory): State<Arc<Path>>, InUrl(name): InUrl<String>) -> impl IntoResponse {
    let kind = match Path::new(&name).extension().and_then(|kind| kind.to_str()) {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match fs::read(directory.join(&name)) {
        // A sandboxed frame has no origin, so anyone may load it.
        Ok(content) => (
            [
                (header::CONTENT_TYPE, kind),
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            ],
            content,
        )
            .into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
