//! Drives a headless Chromium through ChromeDriver.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Arguments of a test browser: no prompts, no background requests.
pub(crate) const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long ChromeDriver may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A ChromeDriver; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Driver {
    _process: Child,
    browser: PathBuf,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Driver {
    /// Starts a ChromeDriver on a free port, for this browser.
    pub(crate) async fn start(program: &Path, browser: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let process = Command::new(program)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let this = Self {
            _process: process,
            browser: browser.to_owned(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let start = Instant::now();
        while this.call(Method::GET, "status", Value::Null).await.is_err() {
            if start.elapsed() > PATIENCE {
                bail!("ChromeDriver does not answer");
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(this)
    }

    /// Starts a browser with its files below a directory, and with extra arguments and preferences.
    pub(crate) async fn browser(
        &self,
        directory: &Path,
        arguments: &[&str],
        preferences: Value,
    ) -> Result<Session<'_>> {
        let mut all: Vec<String> = ARGUMENTS.map(str::to_owned).to_vec();
        all.push(format!("--user-data-dir={}", directory.display()));
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let options = json!({"binary": self.browser, "args": all, "prefs": preferences});
        let wanted = json!({"goog:chromeOptions": options, "timeouts": {"script": 120_000}});
        let wanted = json!({"capabilities": {"alwaysMatch": wanted}});
        let session = self.call(Method::POST, "session", wanted).await?;
        let id = session["sessionId"]
            .as_str()
            .context("ChromeDriver gave no session id")?;
        let browser = &session["capabilities"]["goog:processID"];
        let browser = browser.as_i64().and_then(|pid| pid.try_into().ok());
        Ok(Session {
            driver: self,
            id: id.to_owned(),
            browser: Some(browser.context("ChromeDriver gave no process id of the browser")?),
        })
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let body = match body {
            Value::Null => Bytes::new(),
            body => serde_json::to_vec(&body)?.into(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let answer = async {
            let response = self.client.request(request).await?;
            anyhow::Ok(response.into_body().collect().await?.to_bytes())
        };
        let answer = timeout(PATIENCE, answer)
            .await
            .context("ChromeDriver did not answer in time")??;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let value = answer["value"].take();
        if let (Some(error), Some(message)) = (value["error"].as_str(), value["message"].as_str()) {
            bail!("{error}: {}", message.lines().next().unwrap_or_default());
        }
        Ok(value)
    }
}

/// A browser with its windows; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    driver: &'a Driver,
    id: String,
    /// `None` once it has ended.
    browser: Option<i32>,
}

impl Session<'_> {
    /// Loads a page into the current tab.
    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        self.post("url", json!({"url": url})).await.map(drop)
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) -> Result<()> {
        self.post("refresh", json!({})).await.map(drop)
    }

    /// Opens another tab and switches to it. Returns a handle to the previous one.
    pub(crate) async fn new_tab(&self) -> Result<Tab> {
        let old = self.command(Method::GET, "/window", Value::Null).await?;
        let new = self.post("window/new", json!({"type": "tab"})).await?;
        self.go_to(&Tab(new["handle"].clone())).await?;
        Ok(Tab(old))
    }

    pub(crate) async fn go_to(&self, tab: &Tab) -> Result<()> {
        self.post("window", json!({"handle": tab.0}))
            .await
            .map(drop)
    }

    /// Closes the current tab, as a user would.
    pub(crate) async fn close_tab(&self) -> Result<()> {
        self.delete("/window").await
    }

    /// Runs a script that may wait, with function-style `arguments`. Returns its result.
    ///
    /// # Errors
    /// If the script throws.
    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async function() {{ {script} }}).apply(null, arguments).then(
                 value => done({{value: ArrayBuffer.isView(value) ? Array.from(value) : value}}),
                 error => done({{thrown: String(error)}}))"
        );
        let call = json!({"script": script, "args": arguments});
        let mut answer = self.post("execute/async", call).await?;
        match answer["thrown"].as_str() {
            Some(thrown) => bail!("{thrown}"),
            None => Ok(answer["value"].take()),
        }
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        let call = json!({"cmd": command, "params": parameters});
        self.post("goog/cdp/execute", call).await
    }

    /// Kills the browser process: nothing is flushed, no handler runs.
    pub(crate) async fn kill(mut self) -> Result<()> {
        let browser = self.browser.take().context("the browser has ended")?;
        kill(browser)?;
        // The driver notices at its next command.
        let _ = self.delete("").await;
        Ok(())
    }

    /// Ends the browser.
    pub(crate) async fn quit(mut self) -> Result<()> {
        self.delete("").await?;
        self.browser = None;
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let deleted = self.command(Method::DELETE, path, Value::Null);
        deleted.await.map(drop)
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value> {
        let path = format!("/{command}");
        let answer = self.command(Method::POST, &path, body).await;
        answer.with_context(|| format!("the browser failed at {command}"))
    }

    async fn command(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let path = format!("session/{}{path}", self.id);
        self.driver.call(method, &path, body).await
    }
}

#[cfg(unix)]
fn kill(process: i32) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};

    let process = Pid::from_raw(process).context("not a process id")?;
    Ok(kill_process(process, Signal::KILL)?)
}

#[cfg(not(unix))]
fn kill(process: i32) -> Result<()> {
    bail!("cannot kill the browser (process {process}) on this system");
}

impl Drop for Session<'_> {
    /// Kills the browser, which would outlive a killed driver.
    fn drop(&mut self) {
        if let Some(browser) = self.browser.take() {
            // It can only fail because the browser has ended.
            let _ = kill(browser);
        }
    }
}

/// A tab of a browser.
#[derive(Debug)]
pub(crate) struct Tab(Value);
