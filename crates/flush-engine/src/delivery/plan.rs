//! What a pass should do, and until when.

use std::time::Duration;

use record_cache::StreamName;
use tokio_util::sync::CancellationToken;

use crate::delivery::charge::SPACING;
use crate::lifecycle::runtime::Instant;

/// What a pass should do.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// One batch of each stream.
    Flush,
    /// One batch of each stream that is not in backoff.
    Timer,
    /// One batch of each of these streams that is not failing.
    CatchUp(Vec<StreamName>),
    /// Batch after batch of each stream, until nothing is cached.
    Drain {
        /// No request starts after this time.
        deadline: Option<Instant>,
        /// Cancelled when no more batches are wanted.
        stop: CancellationToken,
    },
    /// Batch after batch of each stream that has enough records waiting, or has kept them long
    /// enough.
    Adaptive,
}

impl Plan {
    /// The shortest time between two charges of a record.
    pub(super) const fn charge_spacing(&self) -> Duration {
        match self {
            Self::Flush => Duration::ZERO,
            Self::Timer | Self::CatchUp(_) | Self::Drain { .. } | Self::Adaptive => SPACING,
        }
    }

    /// Whether a stream may have more than one batch.
    pub(super) const fn goes_on(&self) -> bool {
        match self {
            Self::Flush | Self::Timer | Self::CatchUp(_) => false,
            Self::Drain { .. } | Self::Adaptive => true,
        }
    }
}
