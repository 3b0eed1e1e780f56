//! A local port that forwards to an endpoint once opened.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Refuses connections until opened, then forwards them.
pub(crate) struct Forwarder {
    address: SocketAddr,
    /// `host:port`.
    target: String,
    /// The listener; dropping this ends it.
    listening: OnceLock<JoinSet<()>>,
}

impl Forwarder {
    /// A port that is closed at first.
    pub(crate) async fn closed(endpoint: &str) -> Result<Self> {
        let rest = endpoint
            .strip_prefix("http://")
            .with_context(|| format!("{endpoint}: the demo needs an http:// endpoint"))?;
        let authority = rest.split('/').next().unwrap_or_default();
        let port = if authority.contains(':') { "" } else { ":80" };
        let target = format!("{authority}{port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            address: listener.local_addr()?,
            target,
            listening: OnceLock::new(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn open(&self) -> Result<()> {
        let listener = TcpListener::bind(self.address)
            .await
            .context("cannot open the demo's port")?;
        let target = self.target.clone();
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    // The client handles broken connections.
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        let _ = self.listening.set(listening);
        Ok(())
    }
}
