//! Keeps callers from waiting for a disk that never answers.
//!
//! The writer says when it goes to the disk and when it is back. Should it stay away
//! for too long, everyone who waits is told so, and so is everyone who comes later,
//! until it returns.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{future, io};

use tokio::sync::Notify;

use crate::clock;

const IDLE: u64 = 0;

/// Shared by the writer, its callers and the thread that watches.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    limit: Duration,
    /// Milliseconds since `began` at which the writer last gave a sign, or [`IDLE`].
    busy: AtomicU64,
    stalled: AtomicBool,
    gave_up: Notify,
    /// Woken when there is nothing left to watch.
    watcher: OnceLock<Thread>,
}

impl Watch {
    pub(super) fn start(limit: Duration) -> io::Result<Arc<Self>> {
        let watch = Arc::new(Self {
            began: clock::monotonic(),
            limit,
            busy: AtomicU64::new(IDLE),
            stalled: AtomicBool::new(false),
            gave_up: Notify::new(),
            watcher: OnceLock::new(),
        });
        let watched = Arc::downgrade(&watch);
        let tick = limit / 4;
        let watcher = thread::Builder::new()
            .name("record-cache-watch".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || look_after(&watched, tick))?;
        watch.watcher.get_or_init(|| watcher.thread().clone());
        Ok(watch)
    }

    /// The writer is at work, and not stuck.
    pub(super) fn beat(&self) {
        self.busy.store(self.now().max(IDLE + 1), Ordering::Relaxed);
    }

    /// The writer has nothing to do with the disk.
    ///
    /// Returns whether callers were sent away in the meantime.
    pub(super) fn rest(&self) -> bool {
        self.busy.store(IDLE, Ordering::Relaxed);
        self.stalled.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Waits for an answer, but not for a disk that does not give one.
    pub(super) async fn unless_stalled<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        let mut gave_up = pin!(self.gave_up.notified());
        // From here on no notification is missed.
        gave_up.as_mut().enable();
        future::poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            if self.is_stalled() || gave_up.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    fn look(&self) {
        let busy = self.busy.load(Ordering::Relaxed);
        if busy != IDLE && Duration::from_millis(self.now().saturating_sub(busy)) >= self.limit {
            self.stalled.store(true, Ordering::Release);
            self.gave_up.notify_waiters();
        }
    }

    fn now(&self) -> u64 {
        let elapsed = clock::monotonic().saturating_duration_since(self.began);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }
}

/// Ends when nobody needs it any more; a store that goes away does not wait for it.
fn look_after(watch: &Weak<Watch>, tick: Duration) {
    while let Some(watch) = watch.upgrade() {
        watch.look();
        drop(watch);
        thread::park_timeout(tick);
    }
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::time::Duration;

    use super::Watch;

    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_does_not_come_back() {
        let watch = Watch::start(Duration::from_millis(40)).unwrap();
        assert_eq!(watch.unless_stalled(future::ready(1)).await, Some(1));
        watch.beat();
        let answer = watch.unless_stalled(future::pending::<()>()).await;
        assert_eq!(answer, None, "those who wait are told");
        assert!(watch.is_stalled(), "those who come later are told");
        assert!(watch.rest(), "it came back");
        assert!(!watch.is_stalled());
    }
}
