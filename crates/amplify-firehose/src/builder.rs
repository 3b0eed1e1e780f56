//! Making a client.

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use flush_engine::aws::ClientBuilder;
use record_cache::RecordStore;

use crate::service::Firehose;
use crate::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, AmplifyFirehoseError};

/// Makes an [`AmplifyFirehoseClient`]: connection, storage and settings.
///
/// What is set here beats what [`sdk_config`](Self::sdk_config) or
/// [`firehose_client`](Self::firehose_client) bring.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AmplifyFirehoseClientBuilder(ClientBuilder<Firehose>);

impl AmplifyFirehoseClientBuilder {
    /// Sets the region, like `us-east-1`.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self(self.0.region(region.into()))
    }

    /// Sets where credentials come from.
    pub fn credentials_provider(self, provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        Self(self.0.credentials_provider(provider))
    }

    /// Takes region, credentials, endpoint, HTTP client, retries and time-outs from what
    /// `aws_config::load_defaults` gives.
    pub fn sdk_config(self, config: &SdkConfig) -> Self {
        Self(self.0.sdk_config(config.clone()))
    }

    /// Brings an SDK client. It is rebuilt for the user agent and the time-out; the one given
    /// is not changed. Beats [`sdk_config`](Self::sdk_config).
    pub fn firehose_client(self, client: aws_sdk_firehose::Client) -> Self {
        Self(self.0.client(client))
    }

    /// Sends requests to this URL instead of the region's endpoint.
    pub fn endpoint_url(self, url: impl Into<String>) -> Self {
        Self(self.0.endpoint_url(url.into()))
    }

    /// Names the directory below the platform's local data directory in which records are kept
    /// unless a storage is named; the executable's name unless set.
    ///
    /// Several instances of a program may run there at once. Clients of one program that send to
    /// the same region and endpoint, for two accounts perhaps, need a name each.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self(self.0.name(name.into()))
    }

    /// Keeps records in this directory, which has one user at a time. It is made if needed.
    pub fn storage_path(self, path: impl Into<PathBuf>) -> Self {
        Self(self.0.storage_path(path.into()))
    }

    /// Keeps records in memory: they do not survive the process.
    pub fn in_memory(self) -> Self {
        Self(self.0.in_memory())
    }

    /// Keeps records in a [`JournalStore`](crate::JournalStore) in this directory, which has
    /// one user at a time. It is made if needed.
    ///
    /// The files are those of `storage_path`, and either opens what the other left; the index
    /// is in memory, which costs least CPU and 24 bytes for each record that waits. A directory
    /// that holds something else is refused.
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

    /// Keeps records in any other store. The client closes it when it is closed itself.
    pub fn store(self, store: Arc<dyn RecordStore>) -> Self {
        Self(self.0.store(store))
    }

    /// Sets the options.
    pub fn options(self, options: AmplifyFirehoseClientOptions) -> Self {
        Self(self.0.options(options))
    }

    /// Opens the storage and starts the client, in the tokio runtime that it is called in.
    ///
    /// # Errors
    /// [`Validation`](AmplifyFirehoseError::Validation), naming the setting: a value is zero or
    /// out of range, two storages were named, the region or the credentials provider is missing,
    /// another client of this process has the default directory, there is no tokio runtime.
    /// [`Storage`](AmplifyFirehoseError::Storage): the directory is in use or cannot be used.
    ///
    /// # Cancel safety
    /// A storage that was opened is released a moment later.
    pub async fn build(self) -> Result<AmplifyFirehoseClient, AmplifyFirehoseError> {
        Ok(AmplifyFirehoseClient(self.0.build().await?))
    }
}
