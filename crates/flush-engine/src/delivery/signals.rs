//! Lock-free signals between concurrent deliveries.
//!
//! `tests/interleavings.rs` runs this file under all interleavings of a few threads, with `loom`'s
//! atomics instead of these.

use crate::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The signals between the streams of one pass.
///
/// They protect no other memory, so relaxed ordering is enough.
#[derive(Debug)]
pub(crate) struct Signals {
    aborted: AtomicBool,
    /// Streams waiting for a slot.
    queued: AtomicUsize,
    /// Batches from which a record left the cache.
    progress: AtomicU64,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            aborted: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
        }
    }

    /// Stops new requests.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_queued(&self, streams: usize) {
        self.queued.store(streams, Ordering::Relaxed);
    }

    /// Whether another stream is waiting for a slot.
    pub(crate) fn is_slot_wanted(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }
}

/// How many callers are waiting for the running pass to end.
#[derive(Debug)]
pub(crate) struct Turns(AtomicUsize);

/// Requests the next turn until dropped.
pub(crate) struct Wanted<'a>(&'a Turns);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn want(&self) -> Wanted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Wanted(self)
    }

    pub(crate) fn are_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
