//! The client builder.

use flush_engine::aws::ClientBuilder;

use crate::service::Firehose;
use crate::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, AmplifyFirehoseError};

/// Builds an [`AmplifyFirehoseClient`]: connection, storage and settings.
///
/// Settings made here override those from [`sdk_config`](Self::sdk_config) and
/// [`firehose_client`](Self::firehose_client).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AmplifyFirehoseClientBuilder(ClientBuilder<Firehose>);

impl AmplifyFirehoseClientBuilder {
    /// Supplies an SDK client. The client uses a copy with its own user agent and timeout; the
    /// original is not changed. Overrides [`sdk_config`](Self::sdk_config).
    pub fn firehose_client(self, client: aws_sdk_firehose::Client) -> Self {
        Self(self.0.client(client))
    }
}

flush_engine::aws_builder!(
    AmplifyFirehoseClientBuilder,
    AmplifyFirehoseClient,
    AmplifyFirehoseError,
    AmplifyFirehoseClientOptions
);
