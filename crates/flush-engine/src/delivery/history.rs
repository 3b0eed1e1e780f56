//! What one pass hands to the next: slow links, failures, unreached streams.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use record_cache::StreamName;

use crate::delivery::backoff;
use crate::lifecycle::runtime::Instant;

/// State carried from pass to pass. The running pass holds it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Streams that the last pass did not reach, in order.
    unreached: Vec<StreamName>,
    streams: HashMap<StreamName, StreamHistory>,
    /// Streams reported as making no progress.
    told_failing: HashSet<StreamName>,
}

/// What is known about one stream. Healthy streams have no entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StreamHistory {
    /// The byte limit of a batch, after a timeout.
    slow_link: Option<u64>,
    /// How many records fit into a request, if fewer than are read for one.
    fits: Option<usize>,
    /// Set by any failure; a drain waits for it.
    failing: Option<Backoff>,
    /// Set when the service turns the stream away; the timer waits for it.
    turned_away: Option<Backoff>,
}

/// Consecutive failures, and the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backoff {
    failures: u32,
    until: Instant,
}

/// The outcome of a request, as far as the link is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The service answered for the records.
    Answered,
    /// No answer came in time.
    TimedOut {
        /// Request size in bytes.
        bytes: u64,
    },
}

/// The outcome of a batch, as far as the service is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every record was accepted.
    Delivered,
    /// Some record was rejected, or the request was refused because of its contents or its stream.
    SentBack,
    /// The service throttled the request, failed, or refused the caller.
    TurnedAway,
    /// The outcome is unknown.
    NoAnswer,
}

impl History {
    /// The order of a pass. Streams that the last pass did not reach come first.
    pub(super) fn order(&mut self, streams: Vec<StreamName>) -> Vec<StreamName> {
        let mut rest: BTreeSet<_> = streams.into_iter().collect();
        let unreached = std::mem::take(&mut self.unreached);
        let mut order: Vec<_> = unreached
            .into_iter()
            .filter_map(|name| rest.take(&name))
            .collect();
        order.extend(rest);
        order
    }

    /// Notes the streams that this pass did not reach.
    pub(super) fn set_unreached(&mut self, streams: Vec<StreamName>) {
        self.unreached = streams;
    }

    /// Forgets streams that are no longer cached.
    pub(super) fn retain(&mut self, is_cached: impl Fn(&StreamName) -> bool) {
        self.streams.retain(|name, _| is_cached(name));
        self.told_failing.retain(|name| is_cached(name));
    }

    /// Marks a stream as making no progress. Returns whether that is new.
    pub(super) fn fails(&mut self, stream: &StreamName) -> bool {
        self.told_failing.insert(stream.clone())
    }

    /// Marks a stream as making progress. Returns whether that is new.
    pub(super) fn works(&mut self, stream: &StreamName) -> bool {
        self.told_failing.remove(stream)
    }

    pub(super) fn of(&self, stream: &StreamName) -> StreamHistory {
        self.streams.get(stream).copied().unwrap_or_default()
    }

    pub(super) fn remember(&mut self, stream: &StreamName, history: StreamHistory) {
        if history == StreamHistory::default() {
            self.streams.remove(stream);
        } else {
            self.streams.insert(stream.clone(), history);
        }
    }
}

impl StreamHistory {
    /// The byte limit of a batch: `most`, or less on a slow link.
    pub(super) fn max_bytes(&self, most: u64) -> u64 {
        self.slow_link.map_or(most, |at| at.min(most))
    }

    /// How many records make a full batch: `most`, or fewer if recent requests took fewer.
    pub(super) fn full(&self, most: usize) -> usize {
        self.fits.map_or(most, |fits| fits.min(most))
    }

    /// How many records to read for a batch: `most`, or twice what recent requests took, if that is
    /// less.
    pub(super) fn max_records(&self, most: usize) -> usize {
        let twice = |fits: usize| fits.saturating_mul(2);
        self.fits.map_or(most, |fits| twice(fits).min(most))
    }

    /// Learns how many of the records read fit into a request.
    pub(super) fn learn_fit(&mut self, read: usize, fitted: usize, most: usize) {
        if fitted < read {
            self.fits = Some(fitted);
        } else if self.fits.is_some_and(|fits| fitted > fits) {
            self.fits = Some(fitted).filter(|&fits| fits < most);
        }
    }

    /// Whether batches are smaller than they could be because of a slow link.
    pub(super) const fn is_slow(&self) -> bool {
        self.slow_link.is_some()
    }

    /// Whether the last batch failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// When a drain may retry the stream, if the last batch failed.
    pub(super) fn failing_until(&self) -> Option<Instant> {
        self.failing.map(|backoff| backoff.until)
    }

    /// Learns from a request: halves the limit after a timeout, doubles it after an answer.
    pub(super) fn learn_link(&mut self, link: Link, most: u64) {
        self.slow_link = match link {
            Link::TimedOut { bytes } => Some((bytes / 2).max(1)),
            Link::Answered => {
                let doubled = self.slow_link.map(|at| at.saturating_mul(2));
                doubled.filter(|&at| at < most)
            }
        };
    }

    /// Learns from a batch. `interval` is the timer's, if there is one. `jitter` is from 0 to 1.
    pub(super) fn learn(&mut self, outcome: Outcome, interval: Option<Duration>, jitter: f64) {
        self.failing = match outcome {
            Outcome::Delivered => None,
            Outcome::SentBack | Outcome::TurnedAway | Outcome::NoAnswer => {
                Some(Backoff::again(self.failing, |failures| {
                    backoff::drain_wait(failures, jitter)
                }))
            }
        };
        // A stream without an answer is tried at every interval, to notice a recovering network.
        // Rejected records are charged, which limits their retries.
        self.turned_away = match (outcome, interval) {
            (Outcome::TurnedAway, Some(interval)) => Some(Backoff::again(self.turned_away, |n| {
                backoff::timer_wait(interval, n, jitter)
            })),
            _ => None,
        };
    }

    /// How much longer a drain must back off from the stream.
    pub(super) fn wait(&self) -> Duration {
        Backoff::left(self.failing)
    }

    /// How much longer the timer must back off from the stream.
    pub(super) fn timer_wait(&self) -> Duration {
        Backoff::left(self.turned_away)
    }
}

impl Backoff {
    fn again(before: Option<Self>, wait: impl FnOnce(u32) -> Duration) -> Self {
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        Self {
            failures,
            until: Instant::now() + wait(failures),
        }
    }

    fn left(backoff: Option<Self>) -> Duration {
        backoff.map_or(Duration::ZERO, |backoff| {
            backoff.until.saturating_duration_since(Instant::now())
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
        let mut history = History::default();
        history.set_unreached(names(["c", "d", "gone"]));
        assert_eq!(
            history.order(names(["a", "b", "c", "d"])),
            names(["c", "d", "a", "b"])
        );
        assert_eq!(
            history.order(names(["a", "b", "c", "d"])),
            names(["a", "b", "c", "d"])
        );
    }

    #[test]
    fn streams_that_behave_leave_no_trace() {
        let mut history = History::default();
        let stream = &names(["a"])[0];
        let mut of_stream = history.of(stream);
        of_stream.learn_link(Link::TimedOut { bytes: 10 }, 1000);
        history.remember(stream, of_stream);
        assert_eq!(history.of(stream), of_stream);
        history.remember(stream, StreamHistory::default());
        assert!(history.streams.is_empty());
    }

    #[test]
    fn a_slow_link_is_halved_down_to_one_byte_and_doubled_back() {
        let mut history = StreamHistory::default();
        let mut halved = Vec::new();
        let mut bytes = 1000;
        for _ in 0..11 {
            history.learn_link(Link::TimedOut { bytes }, 1000);
            bytes = history.max_bytes(1000);
            halved.push(bytes);
        }
        assert_eq!(halved, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000] {
            history.learn_link(Link::Answered, 1000);
            assert_eq!(history.max_bytes(1000), expected);
        }
        assert_eq!(history, StreamHistory::default());
    }

    #[test]
    fn what_is_read_for_a_request_follows_what_fits_into_one() {
        let mut history = StreamHistory::default();
        assert_eq!(
            (history.max_records(1000), history.full(1000)),
            (1000, 1000)
        );
        history.learn_fit(1000, 100, 1000);
        assert_eq!((history.max_records(1000), history.full(1000)), (200, 100));
        history.learn_fit(40, 40, 1000);
        assert_eq!(history.full(1000), 100, "a short batch says nothing");
        history.learn_fit(200, 150, 1000);
        assert_eq!((history.max_records(1000), history.full(1000)), (300, 150));
        for full in [300, 600] {
            history.learn_fit(full, full, 1000);
            assert_eq!(history.full(1000), full);
        }
        history.learn_fit(1000, 1000, 1000);
        assert_eq!(history, StreamHistory::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_stream_waits_until_it_succeeds() {
        let mut history = StreamHistory::default();
        assert_eq!(history.wait(), Duration::ZERO);
        for (outcome, millis) in [
            (Outcome::SentBack, 100),
            (Outcome::TurnedAway, 200),
            (Outcome::NoAnswer, 400),
        ] {
            history.learn(outcome, None, 1.0);
            assert_eq!(history.wait(), Duration::from_millis(millis));
        }
        history.learn(Outcome::Delivered, None, 1.0);
        assert_eq!(history, StreamHistory::default());
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_waits_for_a_stream_that_was_turned_away_and_for_no_other() {
        let interval = Some(Duration::from_secs(1));
        for resets in [Outcome::Delivered, Outcome::SentBack, Outcome::NoAnswer] {
            let mut history = StreamHistory::default();
            for seconds in [2, 4, 8] {
                history.learn(Outcome::TurnedAway, interval, 1.0);
                assert_eq!(history.timer_wait().as_secs(), seconds);
            }
            history.learn(resets, interval, 1.0);
            assert_eq!(history.timer_wait(), Duration::ZERO);
            history.learn(Outcome::TurnedAway, interval, 1.0);
            assert_eq!(history.timer_wait().as_secs(), 2);
        }
        let mut history = StreamHistory::default();
        history.learn(Outcome::TurnedAway, None, 1.0);
        assert_eq!(history.timer_wait(), Duration::ZERO);
    }
}
