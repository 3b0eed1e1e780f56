//! The record format of the Amazon Kinesis Producer Library.
//!
//! ```text
//! F3 89 9A C2 │ AggregatedRecord (proto2) │ MD5 of that message
//!
//! AggregatedRecord  1: partition keys   2: explicit hash keys   3: records
//! Record            1: which partition key   2: which hash key   3: data   4: tags
//! ```
//!
//! The Python and Node readers take a missing hash key as the first one in the table, if the table
//! is not empty. Events with and without a hash key therefore never share a record.

mod decode;
mod encode;
mod proto;

pub use self::decode::{Malformed, decode};
pub use self::encode::Encoder;

pub(crate) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
pub(crate) const CHECKSUM_BYTES: usize = 16;

/// The size limits of a record.
///
/// ```
/// use aggregation::KplLimits;
///
/// // With dynamic partitioning, Firehose takes at most 500 events out of one record.
/// let limits = KplLimits::default().max_bytes(100 * 1024).max_events(500);
/// assert_eq!(limits.max_events, 500);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KplLimits {
    /// Total bytes of a record. Default: 51,200, as in the KPL.
    pub max_bytes: usize,
    /// Events in a record. Default: 10,000, which leaves the decision to the bytes.
    ///
    /// With dynamic partitioning, Firehose takes at most 500 out of one record.
    pub max_events: usize,
}

impl Default for KplLimits {
    fn default() -> Self {
        Self {
            max_bytes: 51_200,
            max_events: 10_000,
        }
    }
}

impl KplLimits {
    /// Sets the byte limit of a record.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the limit on events per record.
    #[must_use]
    pub const fn max_events(mut self, max_events: usize) -> Self {
        self.max_events = max_events;
        self
    }
}

/// Whether a payload starts like an aggregate.
///
/// ```
/// use aggregation::kpl::is_aggregate;
///
/// assert!(!is_aggregate(br#"{"order": 17}"#));
/// // The bytes that begin an aggregate. `decode` also checks that the rest is one.
/// assert!(is_aggregate(&[0xf3, 0x89, 0x9a, 0xc2, 0x0a]));
/// ```
#[must_use]
pub fn is_aggregate(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}
