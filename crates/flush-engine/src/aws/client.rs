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
/// Its methods are those of [`FlushEngine`], where nothing else is said.
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
    /// Begins to make a client.
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

    /// Checks records, for [`record`](Self::record). While the client takes none in, there is
    /// nothing to check, and nothing to record.
    ///
    /// # Errors
    /// In this order: [`ClientError::ClientClosed`], [`ClientError::Validation`].
    pub fn check(
        &self,
        records: impl IntoIterator<Item = UncheckedRecord>,
    ) -> Result<Vec<NewRecord>, ClientError> {
        let rules = &self.shared.rules;
        // Records that come together are mostly of one stream.
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

    /// Stores records that were checked: all or, on an error, none.
    ///
    /// Checking is not part of it, so that this future has nothing of the caller's iterator in
    /// it: a closure there would keep it from being `Send` in some places.
    ///
    /// # Errors
    /// [`ClientError::ClientClosed`], [`ClientError::LimitExceeded`], [`ClientError::Storage`].
    ///
    /// # Cancel safety
    /// A future that is dropped has stored all of the records or none.
    pub async fn record(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        Ok(self.engine.record(checked).await?)
    }

    /// As [`record`](Self::record), waiting on a thread that belongs to no runtime.
    ///
    /// # Errors
    /// As [`FlushEngine::record_blocking`].
    pub fn record_blocking(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        Ok(self.engine.record_blocking(checked)?)
    }

    /// A stream, its name checked once.
    ///
    /// # Errors
    /// [`ClientError::Validation`].
    pub fn stream(&self, name: String) -> Result<Stream<S>, ClientError> {
        Ok(Stream {
            client: self.clone(),
            name: checked_stream::<S>(name, self.region())?,
        })
    }

    /// Runs one pass.
    ///
    /// # Errors
    /// As [`FlushEngine::flush`].
    ///
    /// # Cancel safety
    /// The pass goes on although the future was dropped.
    pub async fn flush(&self) -> Result<FlushData, ClientError> {
        Ok(self.engine.flush().await?)
    }

    /// Delivers until nothing is left, nothing moves, or the deadline.
    ///
    /// # Errors
    /// As [`FlushEngine::drain`].
    ///
    /// # Cancel safety
    /// Requests under way are finished although the future was dropped; no other starts.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, ClientError> {
        Ok(self.engine.drain(deadline).await?)
    }

    /// Deletes all cached records.
    ///
    /// # Errors
    /// As [`FlushEngine::clear`].
    ///
    /// # Cancel safety
    /// The cache is cleared although the future was dropped.
    pub async fn clear_cache(&self) -> Result<ClearCacheData, ClientError> {
        Ok(self.engine.clear().await?)
    }

    /// Takes records in again and resumes the timer.
    pub fn enable(&self) {
        self.engine.enable();
    }

    /// Drops new records and pauses the timer.
    pub fn disable(&self) {
        self.engine.disable();
    }

    /// Whether records are taken in.
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
    /// As [`FlushEngine::close_with`].
    ///
    /// # Cancel safety
    /// The client drains and closes although the future was dropped.
    pub async fn close_with(&self, options: CloseOptions) -> Result<FlushData, ClientError> {
        Ok(self.engine.close_with(options).await?)
    }

    /// Closes.
    ///
    /// # Errors
    /// As [`FlushEngine::close`].
    ///
    /// # Cancel safety
    /// The client closes although the future was dropped.
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

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &S::Options {
        &self.shared.options
    }

    /// What the cache holds.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.engine.cache_stats()
    }

    /// The directory of the client's cache, if it is in one.
    #[must_use]
    pub fn storage_path(&self) -> Option<&Path> {
        self.shared.storage.directory()
    }

    /// Where the client's cache is.
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
            .field("enabled", &self.is_enabled())
            .field("closed", &self.is_closed())
            .field("cached_records", &cache.records)
            .field("cached_bytes", &cache.bytes)
            .finish_non_exhaustive()
    }
}

/// One stream of a client.
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

    /// Checks records, which are of this stream if they name one; see [`Client::check`].
    ///
    /// # Errors
    /// As [`Client::check`].
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

    /// Stores records that were checked; see [`Client::record`].
    ///
    /// # Errors
    /// As [`Client::record`].
    ///
    /// # Cancel safety
    /// A future that is dropped has stored all of the records or none.
    pub async fn record(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        self.client.record(checked).await
    }

    /// Stores records that were checked; see [`Client::record_blocking`].
    ///
    /// # Errors
    /// As [`Client::record_blocking`].
    pub fn record_blocking(&self, checked: Vec<NewRecord>) -> Result<RecordData, ClientError> {
        self.client.record_blocking(checked)
    }
}

fn of_another_stream(name: &StreamName) -> ClientError {
    ClientError::validation(
        format!("the record is for another stream than the handle, which is for {name}"),
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
