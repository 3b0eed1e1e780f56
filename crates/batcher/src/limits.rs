//! How large a batch may be.

use std::num::{NonZeroU64, NonZeroUsize};

/// How large a batch may be: both limits hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// Items at most.
    pub max_items: NonZeroUsize,
    /// Bytes at most, by the caller's measure of an item.
    pub max_bytes: NonZeroU64,
}

impl BatchLimits {
    /// Limits by count and by bytes.
    #[must_use]
    pub const fn new(max_items: NonZeroUsize, max_bytes: NonZeroU64) -> Self {
        Self {
            max_items,
            max_bytes,
        }
    }
}
