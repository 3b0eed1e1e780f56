//! Keeps callers from waiting for a disk that never answers.
//!
//! The threads of a store give signs at their mailboxes. When one that is at work has given
//! none for as long as the limit, all who wait for it are told, and so is everyone who comes
//! later, until it gives a sign again.

use std::sync::Weak;
use std::thread;
use std::time::Duration;

use super::mailbox::Seen;
use super::shared::{Shared, stalled};
use crate::{StoreError, clock};

/// How long the disk may take before callers are told that it does not answer.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(30);
/// A limit is this many looks without a sign.
const LOOKS: u32 = 4;

/// Watches a store until it is gone; a store that goes away does not wait for it.
pub(crate) fn start(shared: Weak<Shared>, limit: Duration) -> Result<thread::Thread, StoreError> {
    let watcher = thread::Builder::new()
        .name("record-cache-watch".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || look_after(&shared, limit))
        .map_err(|error| StoreError::unavailable("cannot start a thread", error))?;
    Ok(watcher.thread().clone())
}

fn look_after(shared: &Weak<Shared>, limit: Duration) {
    let (mut of_writer, mut of_reader) = (Seen::default(), Seen::default());
    let tick = limit / LOOKS;
    let mut last = clock::monotonic();
    while let Some(store) = shared.upgrade() {
        if last.elapsed() > limit {
            // The whole process stood still, and the disk had no time to answer.
            (of_writer, of_reader) = (Seen::default(), Seen::default());
        }
        last = clock::monotonic();
        for reply in store.requests.look(&mut of_writer, LOOKS) {
            reply.refuse(&stalled());
        }
        for reply in store.reads.look(&mut of_reader, LOOKS) {
            let _ = reply.send(Err(stalled()));
        }
        drop(store);
        // A wake-up before the time says that the store is gone, or says nothing.
        while last.elapsed() < tick && shared.strong_count() > 0 {
            thread::park_timeout(tick.saturating_sub(last.elapsed()));
        }
    }
}
