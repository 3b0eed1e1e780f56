//! The client builder.

use flush_engine::aws::ClientBuilder;

use crate::service::Kinesis;
use crate::{AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError};

/// Builds an [`AmplifyKinesisClient`]: connection, storage and settings.
///
/// Settings made here override those from [`sdk_config`](Self::sdk_config) and
/// [`kinesis_client`](Self::kinesis_client).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AmplifyKinesisClientBuilder(ClientBuilder<Kinesis>);

impl AmplifyKinesisClientBuilder {
    /// Supplies an SDK client. The client uses a copy with its own user agent and timeout; the
    /// original is not changed. Overrides [`sdk_config`](Self::sdk_config).
    pub fn kinesis_client(self, client: aws_sdk_kinesis::Client) -> Self {
        Self(self.0.client(client))
    }
}

flush_engine::aws_builder!(
    AmplifyKinesisClientBuilder,
    AmplifyKinesisClient,
    AmplifyKinesisError,
    AmplifyKinesisClientOptions
);
