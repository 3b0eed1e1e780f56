//! Builds a client: connection, storage and settings.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use record_cache::{Amount, RecordStore};

use crate::aws::client::Client;
use crate::aws::connection::ConnectionSettings;
use crate::aws::sender::ServiceSender;
use crate::aws::shards::Shards;
use crate::aws::text::without_userinfo;
use crate::aws::{ClientError, Service};
use crate::lifecycle::runtime::Runtime;
use crate::telemetry::{Meter, log};
use crate::{DefaultDirectory, FlushEngine, InvalidSetting, StorageSettings};

/// Builds a [`Client`]. Settings made here override those from `sdk_config` and `client`.
///
/// ```
/// use flush_engine::aws::{Client, ClientBuilder, ClientError, SdkConfig, Service};
///
/// async fn start<S: Service>(config: SdkConfig) -> Result<Client<S>, ClientError> {
///     ClientBuilder::<S>::default()
///         .sdk_config(config)
///         .region("us-east-1".to_owned())
///         .in_memory()
///         .build()
///         .await
/// }
/// ```
#[derive(Clone)]
pub struct ClientBuilder<S: Service> {
    connection: ConnectionSettings<S>,
    name: Option<String>,
    storage: StorageSettings,
    options: S::Options,
}

impl<S: Service> ClientBuilder<S> {
    /// Sets the region.
    #[must_use]
    pub fn region(mut self, region: String) -> Self {
        self.connection.region = Some(region);
        self
    }

    /// Sets the credentials provider.
    #[must_use]
    pub fn credentials_provider(mut self, provider: SharedCredentialsProvider) -> Self {
        self.connection.credentials = Some(provider);
        self
    }

    /// Takes the configuration that aws-config found.
    #[must_use]
    pub fn sdk_config(mut self, config: SdkConfig) -> Self {
        self.connection.sdk_config = Some(config);
        self
    }

    /// Takes the configuration of an SDK client. Overrides `sdk_config`.
    #[must_use]
    pub fn client(mut self, client: S::SdkClient) -> Self {
        self.connection.client = Some(client);
        self
    }

    /// Sends requests to this URL.
    #[must_use]
    pub fn endpoint_url(mut self, url: String) -> Self {
        self.connection.endpoint_url = Some(url);
        self
    }

    /// Names the default directory.
    #[must_use]
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Keeps records in this directory.
    #[must_use]
    pub fn storage_path(mut self, path: PathBuf) -> Self {
        self.storage.storage_path(path);
        self
    }

    /// Keeps records in memory.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.storage.in_memory();
        self
    }

    /// Keeps records in a journal in this directory.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn journal(mut self, path: PathBuf) -> Self {
        self.storage.journal(path);
        self
    }

    /// Keeps records in a journal in the default directory.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn in_journal(mut self) -> Self {
        self.storage.in_journal();
        self
    }

    /// Keeps records in this store.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn RecordStore>) -> Self {
        self.storage.store(store);
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: S::Options) -> Self {
        self.options = options;
        self
    }

    /// Opens the storage and starts the client.
    ///
    /// # Errors
    /// [`ClientError::Validation`], naming the setting, and [`ClientError::Storage`].
    ///
    /// # Cancel safety
    /// If the storage was already opened, it is released shortly afterwards.
    pub async fn build(self) -> Result<Client<S>, ClientError> {
        Runtime::with_timers()?;
        let settings = S::client_options(&self.options);
        let mut engine_options = settings.checked::<S>()?;
        let grouping = S::grouping(&self.options)?.map(|grouping| {
            let key = S::LIMITS.partition_key_chars.unwrap_or_default() * char::MAX.len_utf8();
            grouping.within(settings.max_record_bytes.saturating_sub(key as u64))
        });
        let storage = self.storage.choose()?;
        let connected = self.connection.connect(settings.request_timeout)?;
        let mut records = format!("{}_records_{}", S::NAME, connected.region);
        if let Some(endpoint) = &connected.endpoint {
            records = format!("{records}_{}", endpoint.key());
        }
        let name = self.name.map(checked_name).transpose()?;
        let default = DefaultDirectory { name, records };
        let storage = storage
            .open(&default, settings.durability, settings.cache_max_bytes)
            .await?;
        engine_options.region.clone_from(&connected.region);
        let sender = ServiceSender::<S> {
            requests: S::requests(&connected.client, &self.options),
            connections: connected.connections,
            credentials: connected.credentials,
            grouping: grouping.clone(),
            shards: Shards::default(),
            request_timeout: settings.request_timeout,
            max_record_bytes: settings.max_record_bytes,
            meter: Meter::new(&engine_options),
            receipts: settings.receipts(),
        };
        let engine = FlushEngine::start(storage.store, Arc::new(sender), engine_options)?;
        let held = engine.cache_stats();
        let held = Amount::new(held.records, held.bytes);
        let (kind, path) = (storage.place.kind(), storage.place.directory());
        log::opened(S::NAME, &connected.region, kind, path, held);
        #[cfg(any(feature = "sled", feature = "journal"))]
        if let Some(slots) = storage.slots {
            engine.adopt_from(slots);
        }
        #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
        engine.live_in_page(storage.claim, settings.flush_strategy);
        Ok(Client::new(
            engine,
            connected.client,
            connected.region,
            self.options,
            grouping,
            storage.place,
        ))
    }
}

/// Checks a name, which must be a valid directory name on any platform.
fn checked_name(name: String) -> Result<String, InvalidSetting> {
    let is_name = (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_name {
        return Ok(name);
    }
    Err(InvalidSetting::new(
        "name",
        "is not valid: use 1 to 64 of the characters A-Z a-z 0-9 _ . -, and no dot at the start",
        "set name to a short word",
    ))
}

// A derived `Debug` would include the output of the credentials provider and the SDK client.
impl<S: Service> fmt::Debug for ClientBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        let endpoint_url = self
            .connection
            .endpoint_url
            .as_deref()
            .map(without_userinfo);
        f.debug_struct("ClientBuilder")
            .field("region", &self.connection.region)
            .field("endpoint_url", &endpoint_url)
            .field("name", &self.name)
            .field("storage", &self.storage)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S: Service> Default for ClientBuilder<S> {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::default(),
            name: None,
            storage: StorageSettings::default(),
            options: S::Options::default(),
        }
    }
}
