//! The client of a service: an engine, and the limits that records are checked against.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use record_cache::{NewRecord, StreamName};

use crate::StoragePlace;
use crate::aws::record::{RecordRules, checked_record, checked_stream};
use crate::aws::{ClientBuilder, ClientError, Grouping, Service, UncheckedRecord};
use crate::{CacheStats, ClearCacheData, CloseOptions, FlushData, FlushEngine, Intake, RecordData};

/// A durable client of a service. Clones share one client.
///
/// Its methods behave like those of [`FlushEngine`] unless stated otherwise.
///
/// ```
/// use flush_engine::aws::{Client, ClientError, Service, UncheckedRecord};
///
/// async fn record<S: Service>(client: &Client<S>) -> Result<(), ClientError> {
///     let key = Some("customer-7".to_owned());
///     let checked = client.check([UncheckedRecord::new("an order", key, "orders")])?;
///     client.record(checked).await?;
///     assert_eq!(client.cache_stats().streams[0].stream_name, "orders");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Client<S: Service> {
    engine: FlushEngine,
    shared: Arc<Shared<S>>,
}

struct Shared<S: Service> {
    client: S::SdkClient,
    region: String,
    options: S::Options,
    rules: RecordRules,
    storage: StoragePlace,
}

impl<S: Service> Client<S> {
    /// Returns a builder for a client.
    pub fn builder() -> ClientBuilder<S> {
        ClientBuilder::default()
    }

    pub(crate) fn new(
        engine: FlushEngine,
        client: S::SdkClient,
        region: String,
        options: S::Options,
        grouping: Option<Grouping>,
        storage: StoragePlace,
    ) -> Self {
        let rules = RecordRules {
            max_bytes: S::client_options(&options).max_record_bytes,
            grouping,
        };
        Self {
            engine,
            shared: Arc::new(Shared {
                client,
                region,
                options,
                rules,
                storage,
            }),
        }
    }

    /// Checks records for [`record`](Self::record). Returns an empty list while the client is
    /// disabled.
    ///
    /// # Errors
    /// In this order: [`ClientError::ClientClosed`], [`ClientError::Validation`].
    pub fn check(
        &self,
        records: impl IntoIterator<Item = UncheckedRecord>,
    ) -> Result<Vec<NewRecord>, ClientError> {
        let rules = &self.shared.rules;
        // Records in one call are mostly for one stream.
        let mut last: Option<StreamName> = None;
        self.check_each(records.into_iter().map(|mut record| {
            let name = record.stream_name.take().unwrap_or_default();
            let stream = match last.take().filter(|last| last.as_str() == name) {
                Some(same) => same,
                None => checked_stream::<S>(name, self.region())?,
            };
            last = Some(stream.clone());
            checked_record::<S>(stream, record, rules)
        }))
    }

    /// Stores checked records. On an error, none is stored.
    ///
    /// Checking is separate so that this future does not hold the caller's iterator: a closure in
    /// it can keep the future from being `Send`.
    ///
    /// # Errors
    /// [`ClientError::ClientClosed`], [`ClientError::LimitExceeded`], [`ClientError::Storage`].
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are stored or none.
    pub async fn record(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        Ok(self.engine.record(checked).await?)
    }

    /// Like [`record`](Self::record), but blocks a thread outside any runtime.
    ///
    /// # Errors
    /// Same as [`FlushEngine::record_blocking`].
    pub fn record_blocking(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        Ok(self.engine.record_blocking(checked)?)
    }

    /// A handle for one stream; checks the name once.
    ///
    /// # Errors
    /// In this order: [`ClientError::ClientClosed`], [`ClientError::Validation`].
    pub fn stream(&self, name: String) -> Result<Stream<S>, ClientError> {
        if self.is_closed() {
            return Err(ClientError::ClientClosed);
        }
        Ok(Stream {
            client: self.clone(),
            name: checked_stream::<S>(name, self.region())?,
        })
    }

    /// Runs one pass.
    ///
    /// # Errors
    /// Same as [`FlushEngine::flush`].
    ///
    /// # Cancel safety
    /// The pass continues even if the future is dropped.
    pub async fn flush(&self) -> Result<FlushData, ClientError> {
        Ok(self.engine.flush().await?)
    }

    /// Delivers until the cache is empty, no progress is made, or the deadline passes.
    ///
    /// # Errors
    /// Same as [`FlushEngine::drain`].
    ///
    /// # Cancel safety
    /// If the future is dropped, requests in flight finish and no new ones start.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, ClientError> {
        Ok(self.engine.drain(deadline).await?)
    }

    /// Deletes all cached records.
    ///
    /// # Errors
    /// Same as [`FlushEngine::clear`].
    ///
    /// # Cancel safety
    /// The cache is cleared even if the future is dropped.
    pub async fn clear_cache(&self) -> Result<ClearCacheData, ClientError> {
        Ok(self.engine.clear().await?)
    }

    /// Accepts records again and resumes the timer.
    pub fn enable(&self) {
        self.engine.enable();
    }

    /// Drops new records and pauses the timer.
    pub fn disable(&self) {
        self.engine.disable();
    }

    /// Whether records are accepted.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.engine.is_enabled()
    }

    /// Whether closing has begun.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// Drains, then closes.
    ///
    /// # Errors
    /// Same as [`FlushEngine::close_with`].
    ///
    /// # Cancel safety
    /// The client drains and closes even if the future is dropped.
    pub async fn close_with(&self, options: CloseOptions) -> Result<FlushData, ClientError> {
        Ok(self.engine.close_with(options).await?)
    }

    /// Closes the client.
    ///
    /// # Errors
    /// Same as [`FlushEngine::close`].
    ///
    /// # Cancel safety
    /// The client closes even if the future is dropped.
    pub async fn close(&self) -> Result<(), ClientError> {
        Ok(self.engine.close().await?)
    }

    /// The SDK client.
    #[must_use]
    pub fn sdk_client(&self) -> &S::SdkClient {
        &self.shared.client
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// The options that the client was created with.
    #[must_use]
    pub fn options(&self) -> &S::Options {
        &self.shared.options
    }

    /// The contents of the cache.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.engine.cache_stats()
    }

    /// The directory of the client's cache, if it has one.
    #[must_use]
    pub fn storage_path(&self) -> Option<&Path> {
        self.shared.storage.directory()
    }

    /// Where the client's cache is stored.
    #[must_use]
    pub fn storage(&self) -> &StoragePlace {
        &self.shared.storage
    }

    fn check_each(
        &self,
        checked: impl Iterator<Item = Result<NewRecord, ClientError>>,
    ) -> Result<Vec<NewRecord>, ClientError> {
        match self.engine.intake() {
            Intake::Closed => Err(ClientError::ClientClosed),
            Intake::Disabled => Ok(Vec::new()),
            Intake::Open => checked.collect(),
        }
    }
}

impl<S: Service> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.cache_stats();
        f.debug_struct("Client")
            .field("region", &self.region())
            .field("options", &self.options())
            .field("storage", self.storage())
            .field("enabled", &self.is_enabled())
            .field("closed", &self.is_closed())
            .field("cached_records", &cache.records)
            .field("cached_bytes", &cache.bytes)
            .finish_non_exhaustive()
    }
}

/// A handle for one stream of a client.
///
/// ```
/// use flush_engine::aws::{Client, ClientError, Service, UncheckedRecord};
///
/// async fn record<S: Service>(client: &Client<S>) -> Result<(), ClientError> {
///     let orders = client.stream("orders".to_owned())?;
///     let key = Some("customer-7".to_owned());
///     let checked = orders.check([UncheckedRecord::for_handle("an order", key)])?;
///     orders.record(checked).await?;
///     println!("recorded for {}", orders.name());
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Stream<S: Service> {
    client: Client<S>,
    name: StreamName,
}

impl<S: Service> Stream<S> {
    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Checks records, which must not name another stream; see [`Client::check`].
    ///
    /// # Errors
    /// Same as [`Client::check`].
    pub fn check(
        &self,
        records: impl IntoIterator<Item = UncheckedRecord>,
    ) -> Result<Vec<NewRecord>, ClientError> {
        let rules = &self.client.shared.rules;
        self.client
            .check_each(records.into_iter().map(|record| match &record.stream_name {
                Some(other) if other != self.name.as_str() => Err(of_another_stream(&self.name)),
                _ => checked_record::<S>(self.name.clone(), record, rules),
            }))
    }

    /// Stores checked records; see [`Client::record`].
    ///
    /// # Errors
    /// Same as [`Client::record`].
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are stored or none.
    pub async fn record(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        self.client.record(checked).await
    }

    /// Stores checked records; see [`Client::record_blocking`].
    ///
    /// # Errors
    /// Same as [`Client::record_blocking`].
    pub fn record_blocking(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        self.client.record_blocking(checked)
    }
}

fn of_another_stream(name: &StreamName) -> ClientError {
    ClientError::validation(
        format!("the record is for another stream; this handle is for {name}"),
        "use the handle of its stream, or the record_all of the client",
    )
}

impl<S: Service> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
