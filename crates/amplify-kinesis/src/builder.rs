//! Making a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Builder as ConfigBuilder, Region};
use aws_types::SdkConfig;
use flush_engine::aws::{
    Connection, UserAgent, checked_endpoint, checked_region, with_request_timeout,
};
use flush_engine::{FlushEngine, StorageSettings};
use record_cache::RecordStore;

use crate::sender::PutRecordsSender;
use crate::{AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError};

/// Makes an [`AmplifyKinesisClient`]: connection, storage and settings.
///
/// What is set here beats what [`sdk_config`](Self::sdk_config) or
/// [`kinesis_client`](Self::kinesis_client) bring.
#[derive(Clone, Default)]
#[must_use]
pub struct AmplifyKinesisClientBuilder {
    connection: Connection,
    kinesis_client: Option<Client>,
    storage: StorageSettings,
    options: AmplifyKinesisClientOptions,
}

impl AmplifyKinesisClientBuilder {
    /// Sets the region, like `us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.connection.region = Some(region.into());
        self
    }

    /// Sets where credentials come from.
    pub fn credentials_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.connection.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Takes region, credentials, endpoint, HTTP client, retries and time-outs from what
    /// `aws_config::load_defaults` gives.
    pub fn sdk_config(mut self, config: &SdkConfig) -> Self {
        self.connection.sdk_config = Some(config.clone());
        self
    }

    /// Brings an SDK client. It is rebuilt for the user agent and the time-out; the one given
    /// is not changed. Beats [`sdk_config`](Self::sdk_config).
    pub fn kinesis_client(mut self, client: Client) -> Self {
        self.kinesis_client = Some(client);
        self
    }

    /// Sends requests to this URL instead of the region's endpoint.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.connection.endpoint_url = Some(url.into());
        self
    }

    /// Keeps records in this directory, which has one user at a time. It is made if needed.
    ///
    /// Without it, they are kept below the platform's local data directory, where several
    /// instances of a program may run at once.
    pub fn storage_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.storage.storage_path(path.into());
        self
    }

    /// Keeps records in memory: they do not survive the process.
    pub fn in_memory(mut self) -> Self {
        self.storage.in_memory();
        self
    }

    /// Keeps records in a [`JournalStore`](crate::JournalStore) in this directory, which has
    /// one user at a time. It is made if needed.
    ///
    /// The files are those of `storage_path`, and either opens what the other left; the index
    /// is in memory, which costs least CPU and 24 bytes for each record that waits. A directory
    /// that holds something else is refused.
    #[cfg(feature = "journal")]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.storage.journal(path.into());
        self
    }

    /// Keeps records in any other store. The client closes it when it is closed itself.
    pub fn store(mut self, store: Arc<dyn RecordStore>) -> Self {
        self.storage.store(store);
        self
    }

    /// Sets the options.
    pub fn options(mut self, options: AmplifyKinesisClientOptions) -> Self {
        self.options = options;
        self
    }

    /// Opens the storage and starts the client. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Validation`](AmplifyKinesisError::Validation), naming the setting: a value is zero or
    /// out of range, two storages were named, the region or the credentials provider is missing.
    /// [`Storage`](AmplifyKinesisError::Storage): the directory is in use or cannot be used.
    ///
    /// # Cancel safety
    /// A storage that was opened is released a moment later.
    pub async fn build(self) -> Result<AmplifyKinesisClient, AmplifyKinesisError> {
        let mut engine_options = self.options.checked()?;
        let storage = self.storage.choose()?;
        let (region, config) = match self.kinesis_client {
            Some(client) => configure_given(&client, self.connection, &self.options)?,
            None => {
                let resolved = self.connection.resolve(self.options.request_timeout)?;
                (resolved.region, ConfigBuilder::from(&resolved.sdk_config))
            }
        };
        let user_agent = UserAgent::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let client = Client::from_conf(config.interceptor(user_agent).build());
        let name = format!("kinesis_records_{region}");
        let options = self.options;
        let storage = storage
            .open(&name, options.durability, options.cache_max_bytes)
            .await?;
        engine_options.region.clone_from(&region);
        let sender = Arc::new(PutRecordsSender::new(client.clone()));
        let engine = FlushEngine::start(storage.store, sender, engine_options)?;
        #[cfg(feature = "sled")]
        if let Some(slots) = storage.slots {
            engine.adopt_from(slots);
        }
        Ok(AmplifyKinesisClient::new(engine, client, region, options))
    }
}

// The derived one would show what a credentials provider or an SDK client says of itself.
impl fmt::Debug for AmplifyKinesisClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmplifyKinesisClientBuilder")
            .field("region", &self.connection.region)
            .field("endpoint_url", &self.connection.endpoint_url)
            .field("storage", &self.storage)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The configuration of a client that was given, with what was set beside it.
fn configure_given(
    client: &Client,
    connection: Connection,
    options: &AmplifyKinesisClientOptions,
) -> Result<(String, ConfigBuilder), AmplifyKinesisError> {
    let given = client.config();
    let region = connection
        .region
        .or_else(|| given.region().map(ToString::to_string));
    let region = checked_region(region)?;
    let timeouts = with_request_timeout(given.timeout_config(), options.request_timeout);
    let mut config = given
        .to_builder()
        .region(Region::new(region.clone()))
        .timeout_config(timeouts);
    if let Some(provider) = connection.credentials {
        config.set_credentials_provider(Some(provider));
    }
    if let Some(endpoint_url) = connection.endpoint_url {
        config.set_endpoint_url(Some(checked_endpoint(endpoint_url)?));
    }
    Ok((region, config))
}
