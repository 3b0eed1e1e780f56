//! Fails calls when the disk stops responding.
//!
//! The threads of a store send heartbeats to their mailboxes. If a working thread sends none for
//! the time limit, all waiting calls fail. Later calls fail too, until it sends one again.

use std::sync::Weak;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::clock;

/// How long the disk may take before calls fail.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(30);
/// The number of checks without a heartbeat that make up the limit.
const LOOKS: u32 = 4;

/// Watches a store until it is dropped. Dropping the store does not wait for the watch.
pub(crate) fn look_after(shared: &Weak<Shared>, ended: &Receiver<()>, limit: Duration) {
    let mut last = clock::monotonic();
    while let Some(store) = shared.upgrade() {
        look(&store, &mut last, clock::monotonic(), limit);
        drop(store);
        // Nothing is ever sent. Once the store is dropped, this returns immediately.
        let _ = ended.recv_timeout(limit / LOOKS);
    }
}

fn look(store: &Shared, last: &mut Instant, now: Instant, limit: Duration) {
    if now.saturating_duration_since(*last) > limit {
        // The whole process was suspended, so the disk had no chance to respond.
        store.requests.look_afresh();
        store.reads.look_afresh();
    }
    *last = now;
    store.requests.look(LOOKS);
    store.reads.look(LOOKS);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::{LOOKS, look};
    use crate::clock;
    use crate::disk::shared::Shared;

    #[test]
    fn a_process_that_stood_still_gives_the_disk_its_time_again() {
        let limit = Duration::from_secs(30);
        let tick = limit / LOOKS;
        let shared = Shared::new("nowhere".into(), channel().0);
        let (reply, mut answer) = oneshot::channel();
        let _ticket = shared.requests.expect(reply);
        let mut now = clock::monotonic();
        let mut last = now;
        for _ in 0..LOOKS {
            look(&shared, &mut last, now, limit);
            now += tick;
        }
        now += limit;
        for _ in 0..LOOKS {
            assert!(answer.try_recv().is_err(), "not told yet");
            look(&shared, &mut last, now, limit);
            now += tick;
        }
        look(&shared, &mut last, now, limit);
        let told = answer.try_recv().unwrap().unwrap_err();
        assert!(told.to_string().contains("does not respond"), "{told}");
    }
}
