//! The results of operations.

use std::time::SystemTime;

use record_cache::{StoreStats, StreamName};

/// The result of `record`.
///
/// ```
/// # use flush_engine::RecordData;
/// fn log(recorded: &RecordData) {
///     if recorded.records_stored == 0 {
///         println!("dropped: the client is disabled");
///     }
/// }
/// # log(&RecordData::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordData {
    /// Records stored. Zero while records are dropped.
    pub records_stored: usize,
}

/// The result of a flush.
///
/// ```
/// # use flush_engine::FlushData;
/// fn log(flushed: &FlushData) {
///     println!("{} delivered, {} to retry", flushed.records_flushed, flushed.records_retried);
///     if flushed.records_discarded > 0 {
///         eprintln!("{} given up", flushed.records_discarded);
///     }
///     for skipped in &flushed.skipped_streams {
///         eprintln!("nothing accepted for {}: {}", skipped.stream_name, skipped.message);
///     }
/// }
/// # log(&FlushData::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushData {
    /// Records that the service accepted.
    pub records_flushed: usize,
    /// Nothing was done because another pass was running.
    pub flush_in_progress: bool,
    /// Failed records kept with a higher retry count.
    pub records_retried: usize,
    /// Records that failed too often or grew too old; they were handed to `on_discard` and deleted.
    /// Records dropped to make room are not counted.
    pub records_discarded: usize,
    /// Streams whose request was refused.
    pub skipped_streams: Vec<SkippedStream>,
}

impl FlushData {
    pub(crate) fn in_progress() -> Self {
        Self {
            flush_in_progress: true,
            ..Self::default()
        }
    }

    pub(crate) fn flushed(records: usize) -> Self {
        Self {
            records_flushed: records,
            ..Self::default()
        }
    }

    /// Whether any record left the cache.
    pub(crate) fn made_progress(&self) -> bool {
        self.records_flushed > 0 || self.records_discarded > 0
    }

    /// Adds up two passes. For a stream skipped in both, the later entry wins.
    pub(crate) fn add(&mut self, later: Self) {
        self.records_flushed += later.records_flushed;
        self.records_retried += later.records_retried;
        self.records_discarded += later.records_discarded;
        for skipped in later.skipped_streams {
            self.skipped_streams
                .retain(|earlier| earlier.stream_name != skipped.stream_name);
            self.skipped_streams.push(skipped);
        }
    }
}

/// A stream whose request was refused. Its records stay cached, except those accepted or discarded.
///
/// ```
/// # use flush_engine::{FlushData, SkippedStream};
/// /// The streams that someone still has to create.
/// fn missing(flushed: FlushData) -> impl Iterator<Item = String> {
///     let of_missing = |skipped: &SkippedStream| {
///         skipped.code.as_deref() == Some("ResourceNotFoundException")
///     };
///     let skipped = flushed.skipped_streams.into_iter();
///     skipped.filter(of_missing).map(|skipped| skipped.stream_name)
/// }
/// # assert_eq!(missing(FlushData::default()).count(), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedStream {
    /// The stream.
    pub stream_name: String,
    /// The error code of the service, if it gave one.
    pub code: Option<String>,
    /// The service's message, or a description of the failure.
    pub message: String,
}

impl SkippedStream {
    pub(crate) fn new(stream: &StreamName, code: Option<String>, message: String) -> Self {
        Self {
            stream_name: stream.as_str().to_owned(),
            code,
            message,
        }
    }
}

/// The result of clearing the cache.
///
/// ```
/// # use flush_engine::ClearCacheData;
/// fn log(cleared: &ClearCacheData) {
///     println!("{} records were deleted undelivered", cleared.records_cleared);
/// }
/// # log(&ClearCacheData::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearCacheData {
    /// Number of deleted records.
    pub records_cleared: usize,
}

impl ClearCacheData {
    pub(crate) fn new(records_cleared: usize) -> Self {
        Self { records_cleared }
    }
}

/// Contents of the cache. Two values are equal if they have the same streams with the same record
/// and byte counts; limit and age are ignored.
///
/// ```
/// # use flush_engine::CacheStats;
/// # use std::time::Duration;
/// /// Whether someone should look: the cache fills up, or records wait for an hour.
/// fn is_stuck(stats: &CacheStats) -> bool {
///     let waits = |since: std::time::SystemTime| since.elapsed().unwrap_or_default();
///     stats.bytes > stats.cache_max_bytes / 2
///         || stats.oldest_recorded_at.map(waits) > Some(Duration::from_secs(3600))
/// }
/// assert!(!is_stuck(&CacheStats::default()));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Number of records.
    pub records: usize,
    /// Total size in bytes: data and partition keys.
    pub bytes: u64,
    /// The cache limit in bytes.
    pub cache_max_bytes: u64,
    /// When the oldest record was recorded, if there is one; `elapsed()` gives its age.
    ///
    /// Records cached before the client was created count from its creation until a flush reads
    /// them. Records rejected by the service may count as younger until they are read again.
    pub oldest_recorded_at: Option<SystemTime>,
    /// The same per stream with cached records, sorted by name.
    pub streams: Vec<StreamStats>,
}

impl CacheStats {
    /// `oldest` takes a stream and its record count and returns when the oldest record was
    /// recorded.
    pub(crate) fn new(
        stats: &StoreStats,
        cache_max_bytes: u64,
        oldest: impl Fn(&StreamName, usize) -> Option<SystemTime>,
    ) -> Self {
        let streams = stats.streams.iter();
        let streams: Vec<_> = streams
            .map(|(name, queue)| StreamStats {
                stream_name: name.as_str().to_owned(),
                records: queue.records,
                bytes: queue.bytes,
                oldest_recorded_at: oldest(name, queue.records),
            })
            .collect();
        Self {
            records: stats.records(),
            bytes: stats.bytes(),
            cache_max_bytes,
            oldest_recorded_at: streams.iter().filter_map(|of| of.oldest_recorded_at).min(),
            streams,
        }
    }
}

impl PartialEq for CacheStats {
    fn eq(&self, other: &Self) -> bool {
        (self.records, self.bytes, &self.streams) == (other.records, other.bytes, &other.streams)
    }
}

impl Eq for CacheStats {}

/// The cached records of one stream. Equality ignores their age.
///
/// ```
/// # use flush_engine::{CacheStats, StreamStats};
/// /// The stream with the most bytes in the cache.
/// fn largest(stats: &CacheStats) -> Option<&StreamStats> {
///     stats.streams.iter().max_by_key(|stream| stream.bytes)
/// }
/// assert_eq!(largest(&CacheStats::default()), None);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamStats {
    /// The stream.
    pub stream_name: String,
    /// Number of records.
    pub records: usize,
    /// Total size in bytes: data and partition keys.
    pub bytes: u64,
    /// When the oldest record was recorded.
    pub oldest_recorded_at: Option<SystemTime>,
}

impl PartialEq for StreamStats {
    fn eq(&self, other: &Self) -> bool {
        let key = |stats: &Self| (stats.records, stats.bytes);
        self.stream_name == other.stream_name && key(self) == key(other)
    }
}

impl Eq for StreamStats {}
