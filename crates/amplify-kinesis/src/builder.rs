//! The client builder.

use flush_engine::aws::ClientBuilder;

use crate::service::Kinesis;
use crate::{AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError};

/// Builds an [`AmplifyKinesisClient`]: connection, storage and settings.
///
/// Settings made here override those from [`sdk_config`](Self::sdk_config) and
/// [`kinesis_client`](Self::kinesis_client).
///
/// ```
#[doc = flush_engine::aws_example!(@builder "amplify_kinesis")]
/// use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let client = AmplifyKinesisClient::builder()
///     .region("us-east-1")
///     .credentials_provider(credentials)
///     .storage_path(directory) // say /var/lib/shop/records
///     .options(AmplifyKinesisClientOptions::default().max_retries(20))
///     .build()
///     .await?;
/// # client.close().await?;
#[doc = flush_engine::aws_example!(@end)]
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AmplifyKinesisClientBuilder(ClientBuilder<Kinesis>);

impl AmplifyKinesisClientBuilder {
    /// Supplies an SDK client. The client uses a copy with its own user agent and timeout; the
    /// original is not changed. Overrides [`sdk_config`](Self::sdk_config).
    ///
    /// An SDK client does not tell its endpoint. If it has a custom one, also set
    /// [`endpoint_url`](Self::endpoint_url) or [`name`](Self::name): otherwise the default directory
    /// is that of AWS's endpoint, and records left by a test are sent to AWS later.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@builder "amplify_kinesis")]
    /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    /// // The program uses the SDK's client for other operations too.
    /// let sdk = aws_sdk_kinesis::Client::new(&config);
    /// let client = AmplifyKinesisClient::builder().kinesis_client(sdk.clone()).build().await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    pub fn kinesis_client(self, client: aws_sdk_kinesis::Client) -> Self {
        Self(self.0.client(client))
    }
}

flush_engine::aws_builder!(
    AmplifyKinesisClientBuilder,
    AmplifyKinesisClient,
    AmplifyKinesisError,
    AmplifyKinesisClientOptions,
    crate: "amplify_kinesis",
    record: r#"client.record("an order", "customer-7", "orders").await?;"#,
);
