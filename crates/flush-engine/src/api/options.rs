//! Settings of an engine.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::api::{
    DeliveredHandler, DiscardHandler, InvalidSetting, non_zero_bytes, non_zero_count, non_zero_time,
};

/// When records are delivered without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushStrategy {
    /// A pass runs this long after the last one ended.
    ///
    /// It leaves a stream alone that the service turns away (throttling, failures of the
    /// service, refused callers): for up to two intervals after the first refusal, doubled
    /// with each further one up to 32 intervals or 5 minutes, and a random share of that.
    /// A success ends it. What gets no answer at all is tried with every pass.
    ///
    /// A pass that delivered a batch of a stream is followed by another one at once, for as
    /// long as a full batch of that stream waits and the stream does not fail.
    Interval(Duration),
    /// A stream is flushed when a full batch of it waits or its oldest record has waited for
    /// long, and for as long as that is so. Nothing runs while nothing waits.
    ///
    /// A stream that failed is left alone as a drain leaves it alone: for up to 100 ms,
    /// doubled with each further failure up to 5 s, and a random share of that. Records that
    /// are found in the cache at the start count as old.
    Adaptive {
        /// How long a record waits at most until it is sent for the first time. It may be
        /// sent earlier by a 64th of that.
        max_delay: Duration,
        /// Records that make a full batch; at most what one request of the service takes.
        max_records: usize,
        /// Bytes that make a full batch; at most what one request of the service takes.
        max_bytes: u64,
    },
    /// Only `flush` and `drain` deliver.
    None,
}

impl FlushStrategy {
    /// The same strategy, if nothing in it is zero.
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

/// What happens to a record for which the cache has no room.
///
/// A record that an empty cache could not hold is refused in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// It is refused; what is cached stays.
    #[default]
    Reject,
    /// The oldest cached records make room: by the time at which they were recorded, whatever
    /// stream they belong to, and not more of them than it takes.
    ///
    /// Each is handed to `on_discard` with [`DiscardReason::Overflow`](crate::DiscardReason),
    /// then deleted. Records of a request under way are not dropped, as they may be delivered;
    /// where all others together would not make enough room, nothing is dropped and the new
    /// record is refused.
    DropOldest,
    /// It waits for room, in line behind those that came before, and is refused if there is
    /// none in time.
    ///
    /// A stream that has its share of the cache holds up no other stream. A call that is
    /// dropped leaves the line; closing refuses all that wait. Called from within a handler,
    /// `record` does not wait.
    Wait {
        /// The longest wait.
        at_most: Duration,
    },
}

/// How to close.
///
/// ```
/// use std::time::Duration;
/// use flush_engine::CloseOptions;
///
/// let options = CloseOptions::default().drain(Duration::from_secs(5));
/// assert_eq!(options, CloseOptions { drain: Duration::from_secs(5) });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseOptions {
    /// For how long cached records are delivered before. Default: zero, not at all.
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
#[derive(Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// What kind of client this is: a label of its metrics.
    pub client: &'static str,
    /// Where it sends to: a label of its metrics.
    pub region: String,
    /// Bytes of records that the cache holds at most; see [`FlushEngine::record`](crate::FlushEngine::record).
    pub cache_max_bytes: NonZeroU64,
    /// How often a record is tried again after it was charged a failure.
    pub max_retries: u32,
    /// Bytes of records that one stream may take of the cache; none: all.
    pub max_stream_share: Option<u64>,
    /// When records are delivered without being asked for.
    pub flush_strategy: FlushStrategy,
    /// How long one request may take, in all.
    pub request_timeout: Duration,
    /// Streams that are sent to at the same time, at most.
    pub max_concurrent_streams: NonZeroUsize,
    /// What happens to a record for which the cache has no room.
    pub overflow_policy: OverflowPolicy,
    /// Records that are older are given up by the next pass instead of being sent.
    ///
    /// The age is that by the system clock or, where this process recorded the record and a
    /// monotonic clock says less, that. If the clock was set back since a record was recorded,
    /// it counts from when a pass first comes upon such a record.
    pub max_record_age: Option<Duration>,
    /// Batches of one stream that are sent at the same time, at most, by a drain or by
    /// adaptive flushing. More than one gives up the order within a stream.
    pub max_in_flight_per_stream: NonZeroUsize,
    /// Called for every record that is given up.
    pub on_discard: Option<DiscardHandler>,
    /// Called for every record that the service accepted.
    pub on_delivered: Option<DeliveredHandler>,
}

impl EngineOptions {
    /// The defaults of both clients: 5 MiB, 5 retries, every 30 s, 30 s a request, 8 streams.
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
    /// That of the timer, if there is one.
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
