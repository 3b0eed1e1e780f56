//! What the engine remembers of a stream from one pass to the next.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use record_cache::StreamName;
use tokio::time::Instant;

use crate::delivery::backoff;

/// What passes leave to those that follow. Whoever holds it is the pass that runs.
#[derive(Debug, Default)]
pub(crate) struct PassMemory {
    /// Streams that the last pass did not get to, in their order.
    unreached: Vec<StreamName>,
    streams: HashMap<StreamName, StreamMemory>,
}

/// What is known of one stream. Of one that behaves, nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamMemory {
    /// What a batch may have in bytes, after a time-out.
    slow_link: Option<u64>,
    /// Since when nothing but failures; a drain waits for the end of it.
    failing: Option<Trouble>,
    /// Since when nothing but refusals; the timer waits for the end of it.
    turned_away: Option<Trouble>,
}

/// So many times in a row, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trouble {
    times: u32,
    until: Instant,
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

/// How a batch fared, seen from the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fared {
    /// Every record was accepted.
    Delivered,
    /// Some record was sent back, or the request was refused for what it asks.
    SentBack,
    /// The service, or the caller's standing with it, did not let the request in.
    TurnedAway,
    /// Nobody knows.
    NoAnswer,
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

    pub(crate) fn of(&self, stream: &StreamName) -> StreamMemory {
        self.streams.get(stream).copied().unwrap_or_default()
    }

    pub(crate) fn remember(&mut self, stream: &StreamName, memory: StreamMemory) {
        if memory == StreamMemory::default() {
            self.streams.remove(stream);
        } else {
            self.streams.insert(stream.clone(), memory);
        }
    }
}

impl StreamMemory {
    /// What a batch may have in bytes, unless the link is known as slow.
    pub(crate) fn max_bytes(&self, most: u64) -> u64 {
        self.slow_link.map_or(most, |at| at.min(most))
    }

    /// Whether batches are smaller than they could be.
    pub(crate) const fn is_slow(&self) -> bool {
        self.slow_link.is_some()
    }

    /// Until when a drain leaves the stream alone, if the last batch failed.
    pub(crate) fn failing_until(&self) -> Option<Instant> {
        self.failing.map(|trouble| trouble.until)
    }

    /// Learns from a request: halves after a time-out, doubles after an answer.
    pub(crate) fn learn_link(&mut self, link: Link, most: u64) {
        self.slow_link = match link {
            Link::TimedOut { bytes } => Some((bytes / 2).max(1)),
            Link::Answered => {
                let doubled = self.slow_link.map(|at| at.saturating_mul(2));
                doubled.filter(|&at| at < most)
            }
        };
    }

    /// Learns how a batch fared. `interval` is that of the timer, if there is one; `dice` is
    /// from 0 to 1.
    pub(crate) fn learn(&mut self, fared: Fared, interval: Option<Duration>, dice: f64) {
        self.failing = match fared {
            Fared::Delivered => None,
            Fared::SentBack | Fared::TurnedAway | Fared::NoAnswer => {
                Some(Trouble::again(self.failing, |times| {
                    backoff::drain_wait(times, dice)
                }))
            }
        };
        // Without an answer every interval is tried, so that a network that comes back is
        // noticed; what was sent back is paid for, and so comes to an end.
        self.turned_away = match (fared, interval) {
            (Fared::TurnedAway, Some(interval)) => Some(Trouble::again(self.turned_away, |n| {
                backoff::timer_wait(interval, n, dice)
            })),
            _ => None,
        };
    }

    /// How long a drain has to leave the stream alone yet.
    pub(crate) fn wait(&self) -> Duration {
        Trouble::left(self.failing)
    }

    /// How long the timer has to leave the stream alone yet.
    pub(crate) fn timer_wait(&self) -> Duration {
        Trouble::left(self.turned_away)
    }
}

impl Trouble {
    fn again(before: Option<Self>, wait: impl FnOnce(u32) -> Duration) -> Self {
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        Self {
            times,
            until: Instant::now() + wait(times),
        }
    }

    fn left(trouble: Option<Self>) -> Duration {
        trouble.map_or(Duration::ZERO, |trouble| {
            trouble.until.saturating_duration_since(Instant::now())
        })
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
    fn streams_that_behave_leave_no_trace() {
        let mut memory = PassMemory::default();
        let stream = &names(["a"])[0];
        let mut of_stream = memory.of(stream);
        of_stream.learn_link(Link::TimedOut { bytes: 10 }, 1000);
        memory.remember(stream, of_stream);
        assert_eq!(memory.of(stream), of_stream);
        memory.remember(stream, StreamMemory::default());
        assert!(memory.streams.is_empty());
    }

    #[test]
    fn a_slow_link_is_halved_down_to_one_byte_and_doubled_back() {
        let mut memory = StreamMemory::default();
        let mut halved = Vec::new();
        let mut bytes = 1000;
        for _ in 0..11 {
            memory.learn_link(Link::TimedOut { bytes }, 1000);
            bytes = memory.max_bytes(1000);
            halved.push(bytes);
        }
        assert_eq!(halved, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000] {
            memory.learn_link(Link::Answered, 1000);
            assert_eq!(memory.max_bytes(1000), expected);
        }
        assert_eq!(memory, StreamMemory::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_stream_waits_until_it_succeeds() {
        let mut memory = StreamMemory::default();
        assert_eq!(memory.wait(), Duration::ZERO);
        for (fared, millis) in [
            (Fared::SentBack, 100),
            (Fared::TurnedAway, 200),
            (Fared::NoAnswer, 400),
        ] {
            memory.learn(fared, None, 1.0);
            assert_eq!(memory.wait(), Duration::from_millis(millis));
        }
        memory.learn(Fared::Delivered, None, 1.0);
        assert_eq!(memory, StreamMemory::default());
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_waits_for_a_stream_that_was_turned_away_and_for_no_other() {
        let interval = Some(Duration::from_secs(1));
        for resets in [Fared::Delivered, Fared::SentBack, Fared::NoAnswer] {
            let mut memory = StreamMemory::default();
            for seconds in [2, 4, 8] {
                memory.learn(Fared::TurnedAway, interval, 1.0);
                assert_eq!(memory.timer_wait().as_secs(), seconds);
            }
            memory.learn(resets, interval, 1.0);
            assert_eq!(memory.timer_wait(), Duration::ZERO);
            memory.learn(Fared::TurnedAway, interval, 1.0);
            assert_eq!(memory.timer_wait().as_secs(), 2);
        }
        let mut memory = StreamMemory::default();
        memory.learn(Fared::TurnedAway, None, 1.0);
        assert_eq!(memory.timer_wait(), Duration::ZERO);
    }
}
