//! Settings of an engine.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::api::{
    DeliveredHandler, DiscardHandler, InvalidSetting, non_zero_bytes, non_zero_count, non_zero_time,
};

/// When records are delivered automatically.
///
/// ```
/// # use flush_engine::FlushStrategy;
/// # use std::time::Duration;
/// // A server: deliver full batches at once, and everything within a second.
/// let server = FlushStrategy::Adaptive {
///     max_delay: Duration::from_secs(1),
///     max_records: 500,
///     max_bytes: 1024 * 1024,
/// };
/// // A phone: wake the radio every ten minutes.
/// let phone = FlushStrategy::Interval(Duration::from_secs(10 * 60));
/// // A command-line program: drain at the end.
/// let command = FlushStrategy::None;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushStrategy {
    /// A pass runs this long after the previous one ended.
    ///
    /// The timer backs off from a stream after the service refuses it (throttling, service
    /// failures, refused credentials). The first backoff is a random part of up to two intervals.
    /// Each further refusal doubles the range, up to 32 intervals or 5 minutes. A success ends the
    /// backoff. A stream that gets no answer at all is tried in every pass.
    ///
    /// After a pass has delivered a batch from a stream, another pass follows immediately while
    /// that stream has a full batch waiting and does not fail.
    Interval(Duration),
    /// A stream is flushed when it has a full batch or its oldest record has waited long enough,
    /// and for as long as that holds. Nothing runs while no records are waiting.
    ///
    /// After a failure, a stream backs off as in a drain: for a random part of up to 100 ms,
    /// doubled with each further failure, up to 5 s. Records already cached at startup count as
    /// old.
    Adaptive {
        /// The longest a record waits before it is first sent. It may be sent up to 1/64 of this
        /// time early.
        max_delay: Duration,
        /// Number of records in a full batch, capped at the service's limit per request.
        max_records: usize,
        /// Bytes in a full batch, capped at the service's limit per request.
        max_bytes: u64,
    },
    /// Only `flush` and `drain` deliver.
    None,
}

impl FlushStrategy {
    /// Checks that no value is zero.
    ///
    /// ```
    /// # use flush_engine::FlushStrategy;
    /// # use std::time::Duration;
    /// let busy = FlushStrategy::Interval(Duration::ZERO);
    /// let error = busy.checked().expect_err("an interval of zero");
    /// assert_eq!(error.setting, "flush_strategy");
    /// ```
    ///
    /// # Errors
    /// [`InvalidSetting`], naming the setting.
    pub fn checked(self) -> Result<Self, InvalidSetting> {
        match self {
            Self::Interval(interval) => {
                non_zero_time("flush_strategy", interval)?;
            }
            Self::Adaptive {
                max_delay,
                max_records,
                max_bytes,
            } => {
                non_zero_time("flush_strategy.max_delay", max_delay)?;
                non_zero_count("flush_strategy.max_records", max_records)?;
                non_zero_bytes("flush_strategy.max_bytes", max_bytes)?;
            }
            Self::None => {}
        }
        Ok(self)
    }
}

impl Default for FlushStrategy {
    /// Every 30 seconds.
    fn default() -> Self {
        Self::Interval(Duration::from_secs(30))
    }
}

/// What happens when a record does not fit into the cache.
///
/// A record that would not fit into an empty cache is always refused.
///
/// ```
/// # use flush_engine::OverflowPolicy;
/// # use std::time::Duration;
/// // Orders: the caller must know, and can refuse the order.
/// let orders = OverflowPolicy::Reject;
/// // Measurements: the latest count most.
/// let measurements = OverflowPolicy::DropOldest;
/// // A pipeline: slow down its source.
/// let pipeline = OverflowPolicy::Wait { at_most: Duration::from_secs(30) };
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// The record is refused; cached records stay.
    #[default]
    Reject,
    /// The oldest cached records by recording time are dropped, from any stream, and no more than
    /// necessary.
    ///
    /// Each one is handed to `on_discard` with [`DiscardReason::Overflow`](crate::DiscardReason),
    /// then deleted. Records in flight are never dropped, as they may be delivered. If dropping all
    /// others would not make enough room, nothing is dropped and the new record is refused.
    DropOldest,
    /// The record waits in line for room, and is refused if none appears in time.
    ///
    /// A stream that has used up its share of the cache does not hold up other streams. A call
    /// whose future is dropped leaves the line. Closing refuses all waiting calls. `record` never
    /// waits when called from a handler.
    Wait {
        /// The longest wait. Zero is like [`Reject`](Self::Reject).
        at_most: Duration,
    },
}

/// How to close.
///
/// ```
/// # use flush_engine::CloseOptions;
/// use std::time::Duration;
///
/// let options = CloseOptions::default().drain(Duration::from_secs(5));
/// assert_eq!(options, CloseOptions { drain: Duration::from_secs(5) });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseOptions {
    /// How long to deliver cached records before closing. Default: zero, so no delivery.
    pub drain: Duration,
}

impl CloseOptions {
    /// Sets [`drain`](Self#structfield.drain).
    #[must_use]
    pub const fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }
}

/// Settings of an engine, already checked by its owner.
///
/// ```
/// use flush_engine::{EngineOptions, FlushStrategy, OverflowPolicy};
///
/// let mut options = EngineOptions::default();
/// options.client = "shelf";
/// options.flush_strategy = FlushStrategy::None;
/// options.overflow_policy = OverflowPolicy::DropOldest;
/// assert_eq!(options.max_retries, EngineOptions::DEFAULT.max_retries);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The kind of client, used as a metrics label.
    pub client: &'static str,
    /// The target region, used as a metrics label.
    pub region: String,
    /// Cache limit in bytes; see [`FlushEngine::record`](crate::FlushEngine::record).
    pub cache_max_bytes: NonZeroU64,
    /// How many failures may be charged to a record. The next one discards it.
    pub max_retries: u32,
    /// Cache bytes that one stream may use. `None` means all of them.
    pub max_stream_share: Option<u64>,
    /// When records are delivered automatically.
    pub flush_strategy: FlushStrategy,
    /// Time limit for a whole request.
    pub request_timeout: Duration,
    /// How many streams are sent to at the same time.
    pub max_concurrent_streams: NonZeroUsize,
    /// What happens when a record does not fit into the cache.
    pub overflow_policy: OverflowPolicy,
    /// Records older than this are discarded by the next pass, not sent.
    ///
    /// Age is measured by the system clock. For a record of this process, the monotonic clock
    /// counts if it gives a lower age. If the clock was set back after recording, age counts from
    /// the first pass that finds such a record.
    pub max_record_age: Option<Duration>,
    /// How many batches of one stream a drain or adaptive flushing sends at the same time. More
    /// than one gives up the order within a stream.
    pub max_in_flight_per_stream: NonZeroUsize,
    /// Called for each discarded record.
    pub on_discard: Option<DiscardHandler>,
    /// Called for each record the service accepted.
    pub on_delivered: Option<DeliveredHandler>,
}

impl EngineOptions {
    /// The defaults of both clients: 5 MiB, 5 retries, every 30 s, 30 s per request, 8 streams.
    pub const DEFAULT: Self = Self {
        client: "engine",
        region: String::new(),
        cache_max_bytes: NonZeroU64::new(5 * 1024 * 1024).expect("not zero"),
        max_retries: 5,
        max_stream_share: None,
        flush_strategy: FlushStrategy::Interval(Duration::from_secs(30)),
        request_timeout: Duration::from_secs(30),
        max_concurrent_streams: NonZeroUsize::new(8).expect("not zero"),
        overflow_policy: OverflowPolicy::Reject,
        max_record_age: None,
        max_in_flight_per_stream: NonZeroUsize::MIN,
        on_discard: None,
        on_delivered: None,
    };
}

impl EngineOptions {
    /// The flush interval, if the timer is used.
    pub(crate) const fn interval(&self) -> Option<Duration> {
        match self.flush_strategy {
            FlushStrategy::Interval(interval) => Some(interval),
            FlushStrategy::Adaptive { .. } | FlushStrategy::None => None,
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("client", &self.client)
            .field("region", &self.region)
            .field("cache_max_bytes", &self.cache_max_bytes)
            .field("max_retries", &self.max_retries)
            .field("max_stream_share", &self.max_stream_share)
            .field("flush_strategy", &self.flush_strategy)
            .field("request_timeout", &self.request_timeout)
            .field("max_concurrent_streams", &self.max_concurrent_streams)
            .field("overflow_policy", &self.overflow_policy)
            .field("max_record_age", &self.max_record_age)
            .field("max_in_flight_per_stream", &self.max_in_flight_per_stream)
            .field("on_discard", &self.on_discard)
            .field("on_delivered", &self.on_delivered)
            .finish()
    }
}
