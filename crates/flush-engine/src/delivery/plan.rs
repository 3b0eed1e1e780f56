//! What a pass is to do, and until when.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a pass is to do.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// One batch of each stream.
    Flush,
    /// One batch of each stream that the service does not turn away.
    Timer,
    /// Batch after batch of each stream, until nothing is cached.
    Drain {
        /// No request starts after this moment.
        deadline: Option<Instant>,
        /// Cancelled when no further batch is wanted.
        stop: CancellationToken,
    },
    /// Batch after batch of each stream in which enough waits, or for long enough.
    Adaptive,
}
