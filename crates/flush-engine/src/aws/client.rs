//! The client of a service: an engine, and what its records are checked against.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use record_cache::{NewRecord, StreamName};

use crate::aws::record::{checked_record, checked_stream};
use crate::aws::{ClientBuilder, ClientError, Service, UncheckedRecord};
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
    max_record_bytes: u64,
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
    ) -> Self {
        let max_record_bytes = S::client_options(&options).max_record_bytes;
        Self {
            engine,
            shared: Arc::new(Shared {
                client,
                region,
                options,
                max_record_bytes,
            }),
        }
    }

    /// Checks records and stores them: all or, on an error, none.
    ///
    /// # Errors
    /// In this order: [`ClientError::ClientClosed`], [`ClientError::Validation`],
    /// [`ClientError::LimitExceeded`], [`ClientError::Storage`].
    ///
    /// # Cancel safety
    /// A future that is dropped has stored all of the records or none.
    pub async fn record_all(
        &self,
        records: impl IntoIterator<Item = UncheckedRecord>,
    ) -> Result<RecordData, ClientError> {
        let max_bytes = self.shared.max_record_bytes;
        let checked = records.into_iter().map(|record| {
            let stream = checked_stream::<S>(record.stream_name)?;
            checked_record::<S>(stream, record.partition_key, record.data, max_bytes)
        });
        self.record(checked).await
    }

    /// A stream, its name checked once.
    ///
    /// # Errors
    /// [`ClientError::Validation`].
    pub fn stream(&self, name: String) -> Result<Stream<S>, ClientError> {
        Ok(Stream {
            client: self.clone(),
            name: checked_stream::<S>(name)?,
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

    /// `Debug` for a type of this name.
    ///
    /// # Errors
    /// Those of the formatter.
    pub fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.cache_stats();
        f.debug_struct(name)
            .field("region", &self.region())
            .field("options", &self.options())
            .field("enabled", &self.is_enabled())
            .field("closed", &self.is_closed())
            .field("cached_records", &cache.records)
            .field("cached_bytes", &cache.bytes)
            .finish_non_exhaustive()
    }

    /// Stores records that were checked, and looks at none while the client takes none in.
    async fn record(
        &self,
        checked: impl Iterator<Item = Result<NewRecord, ClientError>>,
    ) -> Result<RecordData, ClientError> {
        match self.engine.intake() {
            Intake::Closed => return Err(ClientError::ClientClosed),
            Intake::Disabled => return Ok(RecordData::default()),
            Intake::Open => {}
        }
        let records = checked.collect::<Result<Vec<_>, _>>()?;
        Ok(self.engine.record(records).await?)
    }
}

impl<S: Service> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("Client", f)
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

    /// Checks records, each a partition key and data, and stores them: all or none.
    ///
    /// # Errors
    /// As [`Client::record_all`].
    ///
    /// # Cancel safety
    /// A future that is dropped has stored all of the records or none.
    pub async fn record_all(
        &self,
        records: impl IntoIterator<Item = (Option<String>, Bytes)>,
    ) -> Result<RecordData, ClientError> {
        let max_bytes = self.client.shared.max_record_bytes;
        let checked = records
            .into_iter()
            .map(|(key, data)| checked_record::<S>(self.name.clone(), key, data, max_bytes));
        self.client.record(checked).await
    }
}

impl<S: Service> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
