//! What the engine remembers of a stream from one pass to the next.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use record_cache::StreamName;
use tokio::time::Instant;

use crate::retry;

/// What passes leave to those that follow. Whoever holds it is the pass that runs.
#[derive(Debug, Default)]
pub(crate) struct PassMemory {
    /// Streams that the last pass did not get to, in their order.
    unreached: Vec<StreamName>,
    streams: HashMap<StreamName, StreamMemory>,
}

/// Streams that behave leave no trace here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StreamMemory {
    /// What a batch may have in bytes, after a time-out.
    slow_link: Option<u64>,
    /// Failures in a row, and when a drain may try again.
    failing: Option<(u32, Instant)>,
}

/// How a request fared, seen from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// The records were answered for.
    Answered,
    /// There was none in time, to so many bytes.
    TimedOut {
        /// The size of the batch.
        bytes: u64,
    },
}

impl PassMemory {
    /// The order of a pass: first those that the last one did not get to.
    pub(crate) fn order(&mut self, streams: Vec<StreamName>) -> Vec<StreamName> {
        let mut rest: BTreeSet<_> = streams.into_iter().collect();
        let unreached = std::mem::take(&mut self.unreached);
        let mut order: Vec<_> = unreached
            .into_iter()
            .filter_map(|name| rest.take(&name))
            .collect();
        order.extend(rest);
        order
    }

    /// Notes the streams that this pass did not get to.
    pub(crate) fn set_unreached(&mut self, streams: Vec<StreamName>) {
        self.unreached = streams;
    }

    /// Forgets streams that are not cached any more.
    pub(crate) fn retain(&mut self, is_cached: impl Fn(&StreamName) -> bool) {
        self.streams.retain(|name, _| is_cached(name));
    }

    /// What a batch of the stream may have in bytes, unless the link is known as slow.
    pub(crate) fn max_bytes(&self, stream: &StreamName, most: u64) -> u64 {
        self.streams
            .get(stream)
            .and_then(|memory| memory.slow_link)
            .map_or(most, |at| at.min(most))
    }

    /// Learns from a request: halves after a time-out, doubles after an answer.
    pub(crate) fn learn_link(&mut self, stream: &StreamName, link: Link, most: u64) {
        self.update(stream, |memory| match link {
            Link::TimedOut { bytes } => memory.slow_link = Some((bytes / 2).max(1)),
            Link::Answered => {
                let doubled = memory.slow_link.map(|at| at.saturating_mul(2));
                memory.slow_link = doubled.filter(|&at| at < most);
            }
        });
    }

    /// Learns whether the stream's records went through.
    pub(crate) fn learn_failure(&mut self, stream: &StreamName, failed: bool, dice: f64) {
        self.update(stream, |memory| {
            memory.failing = failed.then(|| {
                let failures = memory.failing.map_or(0, |(failures, _)| failures) + 1;
                (failures, Instant::now() + retry::drain_wait(failures, dice))
            });
        });
    }

    /// How long a drain has to leave the stream alone yet.
    pub(crate) fn wait(&self, stream: &StreamName) -> Duration {
        let until = self.streams.get(stream).and_then(|memory| memory.failing);
        until.map_or(Duration::ZERO, |(_, at)| {
            at.saturating_duration_since(Instant::now())
        })
    }

    fn update(&mut self, stream: &StreamName, change: impl FnOnce(&mut StreamMemory)) {
        let mut memory = self.streams.get(stream).copied().unwrap_or_default();
        change(&mut memory);
        if memory == StreamMemory::default() {
            self.streams.remove(stream);
        } else {
            self.streams.insert(stream.clone(), memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> Vec<StreamName> {
        names
            .into_iter()
            .map(|name| StreamName::new(name).unwrap())
            .collect()
    }

    #[test]
    fn what_was_not_reached_comes_first_and_only_once() {
        let mut memory = PassMemory::default();
        memory.set_unreached(names(["c", "d", "gone"]));
        assert_eq!(
            memory.order(names(["a", "b", "c", "d"])),
            names(["c", "d", "a", "b"])
        );
        assert_eq!(
            memory.order(names(["a", "b", "c", "d"])),
            names(["a", "b", "c", "d"])
        );
    }

    #[test]
    fn a_slow_link_is_halved_down_to_one_byte_and_doubled_back() {
        let mut memory = PassMemory::default();
        let stream = &names(["a"])[0];
        let mut halved = Vec::new();
        let mut bytes = 1000;
        for _ in 0..11 {
            memory.learn_link(stream, Link::TimedOut { bytes }, 1000);
            bytes = memory.max_bytes(stream, 1000);
            halved.push(bytes);
        }
        assert_eq!(halved, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000] {
            memory.learn_link(stream, Link::Answered, 1000);
            assert_eq!(memory.max_bytes(stream, 1000), expected);
        }
        assert!(memory.streams.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_stream_waits_until_it_succeeds() {
        let mut memory = PassMemory::default();
        let stream = &names(["a"])[0];
        assert_eq!(memory.wait(stream), Duration::ZERO);
        for millis in [100, 200, 400] {
            memory.learn_failure(stream, true, 1.0);
            assert_eq!(memory.wait(stream), Duration::from_millis(millis));
        }
        memory.learn_failure(stream, false, 1.0);
        assert_eq!(memory.wait(stream), Duration::ZERO);
        assert!(memory.streams.is_empty());
    }
}
