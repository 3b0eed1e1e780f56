//! The destination of the lines, which is down at first.

mod forwarder;
mod remote;

use amplify_test_support::FakeAws;
use anyhow::{Context, Result};

use self::forwarder::Forwarder;
use super::file::{Arrived, STREAM};

/// The destination of the lines. It refuses connections until it comes up.
pub(crate) enum Destination {
    /// The endpoint of this workspace, in this process.
    Loopback(FakeAws),
    /// An endpoint elsewhere, behind a forwarder that is closed at first.
    Remote { endpoint: String, door: Forwarder },
}

impl Destination {
    pub(crate) fn loopback() -> Self {
        let endpoint = FakeAws::start();
        endpoint.stop();
        Self::Loopback(endpoint)
    }

    /// Creates the stream at an `http://` endpoint.
    pub(crate) async fn remote(endpoint: &str) -> Result<Self> {
        remote::create_stream(endpoint)
            .await
            .with_context(|| format!("Kinesis at {endpoint} does not create a stream"))?;
        let door = Forwarder::closed(endpoint).await?;
        Ok(Self::Remote {
            endpoint: endpoint.to_owned(),
            door,
        })
    }

    /// The address for the client.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Loopback(endpoint) => endpoint.endpoint_url(),
            Self::Remote { door, .. } => door.url(),
        }
    }

    pub(crate) async fn come_up(&self) -> Result<()> {
        match self {
            Self::Loopback(endpoint) => Ok(endpoint.restart()?),
            Self::Remote { door, .. } => door.open().await,
        }
    }

    /// The number of requests, if they can be counted.
    pub(crate) fn requests(&self) -> Option<usize> {
        match self {
            Self::Loopback(endpoint) => Some(endpoint.request_count()),
            Self::Remote { .. } => None,
        }
    }

    /// The records that arrived, in order.
    pub(crate) async fn arrived(&self, at_least: usize) -> Result<Vec<Arrived>> {
        match self {
            Self::Loopback(endpoint) => {
                let records = endpoint.delivered(STREAM).into_iter();
                let arrived = records.map(|record| Arrived {
                    key: record.partition_key.unwrap_or_default(),
                    data: record.data,
                });
                Ok(arrived.collect())
            }
            Self::Remote { endpoint, .. } => remote::read_stream(endpoint, at_least).await,
        }
    }
}
