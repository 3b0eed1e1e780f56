//! Limits on the size of a batch.

use std::num::{NonZeroU64, NonZeroUsize};

/// Limits on the size of a batch. Both hold at the same time.
///
/// ```
/// use batcher::BatchLimits;
/// use std::num::{NonZeroU64, NonZeroUsize};
///
/// // One request of Firehose: 500 records, 4 MiB.
/// const REQUEST: BatchLimits = BatchLimits::new(
///     NonZeroUsize::new(500).expect("not zero"),
///     NonZeroU64::new(4 << 20).expect("not zero"),
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// The most items in a batch.
    pub max_items: NonZeroUsize,
    /// The most bytes in a batch, as the caller measures an item.
    pub max_bytes: NonZeroU64,
}

impl BatchLimits {
    /// Combines a limit on items and a limit on bytes.
    #[must_use]
    pub const fn new(max_items: NonZeroUsize, max_bytes: NonZeroU64) -> Self {
        Self {
            max_items,
            max_bytes,
        }
    }
}
