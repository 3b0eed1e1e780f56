//! Making a client.

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use flush_engine::aws::ClientBuilder;
use record_cache::RecordStore;

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
    /// Sets the region, like `us-east-1`.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self(self.0.region(region.into()))
    }

    /// Sets the credentials provider.
    pub fn credentials_provider(self, provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        Self(self.0.credentials_provider(provider))
    }

    /// Takes region, credentials, endpoint, HTTP client, retries and timeouts from an SDK
    /// configuration, such as that of `aws_config::load_defaults`.
    pub fn sdk_config(self, config: &SdkConfig) -> Self {
        Self(self.0.sdk_config(config.clone()))
    }

    /// Supplies an SDK client. The client uses a copy with its own user agent and timeout; the
    /// original is not changed. Overrides [`sdk_config`](Self::sdk_config).
    pub fn firehose_client(self, client: aws_sdk_firehose::Client) -> Self {
        Self(self.0.client(client))
    }

    /// Sends requests to this URL instead of the region's endpoint.
    pub fn endpoint_url(self, url: impl Into<String>) -> Self {
        Self(self.0.endpoint_url(url.into()))
    }

    /// Names the default directory, under the platform's local data directory. The default is the
    /// executable's name. Has no effect if a storage is chosen.
    ///
    /// Several instances of a program may share the default directory. If one program has two
    /// clients for the same region and endpoint, say for two accounts, give each a name.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self(self.0.name(name.into()))
    }

    /// Stores records in this directory, which has one user at a time. It is created if needed.
    pub fn storage_path(self, path: impl Into<PathBuf>) -> Self {
        Self(self.0.storage_path(path.into()))
    }

    /// Stores records in memory: they do not survive the process.
    pub fn in_memory(self) -> Self {
        Self(self.0.in_memory())
    }

    /// Keeps records in a [`JournalStore`](crate::JournalStore) in this directory, which has one
    /// user at a time. It is created if needed.
    ///
    /// The files are the same as with `storage_path`, so each setting opens what the other left.
    /// The index is kept in memory, which uses the least CPU and 24 bytes per waiting record. A
    /// directory that holds something else is refused.
    #[cfg(feature = "journal")]
    pub fn journal(self, path: impl Into<PathBuf>) -> Self {
        Self(self.0.journal(path.into()))
    }

    /// Keeps records in the default directory, in a [`JournalStore`](crate::JournalStore).
    ///
    /// All is as without it (slots of several instances, their adoption, [`name`](Self::name)),
    /// and it goes on with what was cached there before; only the index is in memory.
    #[cfg(feature = "journal")]
    pub fn in_journal(self) -> Self {
        Self(self.0.in_journal())
    }

    /// Stores records in any other store. Closing the client closes the store.
    pub fn store(self, store: Arc<dyn RecordStore>) -> Self {
        Self(self.0.store(store))
    }

    /// Sets the options.
    pub fn options(self, options: AmplifyFirehoseClientOptions) -> Self {
        Self(self.0.options(options))
    }

    /// Opens the storage and starts the client in the current tokio runtime, or in the page.
    ///
    /// # Errors
    /// [`Validation`](AmplifyFirehoseError::Validation), naming the setting: a value is zero or out
    /// of range, two storages were chosen, the region or the credentials provider is missing,
    /// another client of this process uses the default directory, or there is no tokio runtime.
    /// [`Storage`](AmplifyFirehoseError::Storage): the directory is in use or cannot be used.
    ///
    /// # Cancel safety
    /// If the storage was already opened, it is released shortly afterwards.
    pub async fn build(self) -> Result<AmplifyFirehoseClient, AmplifyFirehoseError> {
        Ok(AmplifyFirehoseClient(self.0.build().await?))
    }
}
