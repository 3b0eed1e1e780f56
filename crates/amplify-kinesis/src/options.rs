//! Settings of a client.

use std::time::Duration;

use flush_engine::{
    DiscardHandler, DiscardedRecord, EngineOptions, FlushStrategy, InvalidSetting, OverflowPolicy,
    non_zero_bytes, non_zero_count, non_zero_time,
};
use record_cache::Durability;

use crate::limits::MAX_RECORD_BYTES;

/// Settings of an [`AmplifyKinesisClient`](crate::AmplifyKinesisClient).
///
/// ```
/// use std::time::Duration;
/// use amplify_kinesis::{AmplifyKinesisClientOptions, FlushStrategy};
///
/// let options = AmplifyKinesisClientOptions::default()
///     .cache_max_bytes(10 * 1024 * 1024)
///     .max_retries(3)
///     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)));
/// assert_eq!(options.max_retries, 3);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AmplifyKinesisClientOptions {
    /// Bytes of records, data and partition keys, that are cached at most; beside it, at most
    /// a sixteenth as many records. Default: 5 MiB.
    pub cache_max_bytes: u64,
    /// How often a record is tried again after the service found fault with it, before it is
    /// given up. Being offline, throttled or refused does not count. Default: 5.
    pub max_retries: u32,
    /// When records are delivered without being asked for. Default: every 30 seconds.
    pub flush_strategy: FlushStrategy,
    /// What a record survives once it is recorded. Default: the loss of power.
    pub durability: Durability,
    /// How long one `PutRecords` call may take, the SDK's own retries included. Default: 30
    /// seconds.
    pub request_timeout: Duration,
    /// Bytes that one record may have, data and partition key. Lower it to the stream's own
    /// `MaxRecordSize`. Default, and most: 10 MiB.
    pub max_record_bytes: u64,
    /// Streams that are sent to at the same time, at most. Default: 8.
    pub max_concurrent_streams: usize,
    /// What happens to a record for which the cache has no room. Default: it is refused.
    pub overflow_policy: OverflowPolicy,
    /// Records that are older are given up by the next flush instead of being sent. Default:
    /// none are.
    ///
    /// The age is that by the system's clock. If the clock was set back since a record was
    /// recorded, it counts from when a flush first comes upon such a record.
    pub max_record_age: Option<Duration>,
    /// Batches of one stream that are sent at the same time, at most, by
    /// [`drain`](crate::AmplifyKinesisClient::drain) and by
    /// [`FlushStrategy::Adaptive`]; a flush sends one. More than one gives up the order of
    /// records within a stream, for speed where requests take long. After a failure batches go
    /// one by one until one goes through. Default: 1.
    pub max_in_flight_per_stream: usize,
    on_discard: Option<DiscardHandler>,
}

impl AmplifyKinesisClientOptions {
    /// Sets [`cache_max_bytes`](Self#structfield.cache_max_bytes).
    #[must_use]
    pub const fn cache_max_bytes(mut self, bytes: u64) -> Self {
        self.cache_max_bytes = bytes;
        self
    }

    /// Sets [`max_retries`](Self#structfield.max_retries).
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets [`flush_strategy`](Self#structfield.flush_strategy).
    #[must_use]
    pub const fn flush_strategy(mut self, strategy: FlushStrategy) -> Self {
        self.flush_strategy = strategy;
        self
    }

    /// Sets [`durability`](Self#structfield.durability).
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`request_timeout`](Self#structfield.request_timeout).
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`max_record_bytes`](Self#structfield.max_record_bytes).
    #[must_use]
    pub const fn max_record_bytes(mut self, bytes: u64) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets [`max_concurrent_streams`](Self#structfield.max_concurrent_streams).
    #[must_use]
    pub const fn max_concurrent_streams(mut self, streams: usize) -> Self {
        self.max_concurrent_streams = streams;
        self
    }

    /// Sets [`overflow_policy`](Self#structfield.overflow_policy).
    #[must_use]
    pub const fn overflow_policy(mut self, policy: OverflowPolicy) -> Self {
        self.overflow_policy = policy;
        self
    }

    /// Sets [`max_record_age`](Self#structfield.max_record_age): a time, or `None`.
    #[must_use]
    pub fn max_record_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_record_age = age.into();
        self
    }

    /// Sets [`max_in_flight_per_stream`](Self#structfield.max_in_flight_per_stream).
    #[must_use]
    pub const fn max_in_flight_per_stream(mut self, batches: usize) -> Self {
        self.max_in_flight_per_stream = batches;
        self
    }

    /// Has every record that is given up handed to a function, before it is deleted: after a
    /// crash in between, once more. The function should be quick; a panic in it is contained.
    #[must_use]
    pub fn on_discard(mut self, handler: impl Fn(DiscardedRecord) + Send + Sync + 'static) -> Self {
        self.on_discard = Some(DiscardHandler::new(handler));
        self
    }

    /// The engine's part of the settings, checked.
    pub(crate) fn checked(&self) -> Result<EngineOptions, InvalidSetting> {
        non_zero_bytes("max_record_bytes", self.max_record_bytes)?;
        if self.max_record_bytes > MAX_RECORD_BYTES {
            return Err(InvalidSetting::new(
                "max_record_bytes",
                format!("the service takes records of {MAX_RECORD_BYTES} bytes at most"),
                format!("set max_record_bytes to {MAX_RECORD_BYTES} or less"),
            ));
        }
        let mut options = EngineOptions::default();
        options.client = "kinesis";
        options.cache_max_bytes = non_zero_bytes("cache_max_bytes", self.cache_max_bytes)?;
        options.max_retries = self.max_retries;
        options.flush_strategy = self.flush_strategy.checked()?;
        options.request_timeout = non_zero_time("request_timeout", self.request_timeout)?;
        options.max_concurrent_streams =
            non_zero_count("max_concurrent_streams", self.max_concurrent_streams)?;
        options.overflow_policy = self.overflow_policy;
        options.max_record_age = self
            .max_record_age
            .map(|age| non_zero_time("max_record_age", age))
            .transpose()?;
        options.max_in_flight_per_stream =
            non_zero_count("max_in_flight_per_stream", self.max_in_flight_per_stream)?;
        options.on_discard.clone_from(&self.on_discard);
        Ok(options)
    }
}

impl Default for AmplifyKinesisClientOptions {
    fn default() -> Self {
        let engine = EngineOptions::DEFAULT;
        Self {
            cache_max_bytes: engine.cache_max_bytes.get(),
            max_retries: engine.max_retries,
            flush_strategy: engine.flush_strategy,
            durability: Durability::default(),
            request_timeout: engine.request_timeout,
            max_record_bytes: MAX_RECORD_BYTES,
            max_concurrent_streams: engine.max_concurrent_streams.get(),
            overflow_policy: engine.overflow_policy,
            max_record_age: engine.max_record_age,
            max_in_flight_per_stream: engine.max_in_flight_per_stream.get(),
            on_discard: None,
        }
    }
}
