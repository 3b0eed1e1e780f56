//! The totals of a run.

use std::collections::BTreeMap;
use std::fmt;

use super::account::{Account, Story};

#[derive(Debug, Default)]
pub struct Report {
    pub kills: usize,
    pub clean_ends: usize,
    pub exchanges: usize,
    pub outages: usize,
    pub given_up: usize,
    pub clears: usize,
    pub clears_cut_short: usize,
    pub told_cleared: usize,
    pub counts: usize,
    /// Counts of one stream that left no doubt.
    pub exact_counts: usize,
    pub overtaken: usize,
    pub overtaken_side_by_side: usize,
    pub repeated_after_lost_answers: usize,
    pub repeated_after_kills: usize,
    pub repeated_by_kill: BTreeMap<usize, usize>,
    /// Records accepted in requests that may not have been settled when the child was killed.
    pub in_flight_at_kill: BTreeMap<usize, usize>,
    pub acknowledged: usize,
    pub stored_unacknowledged: usize,
    pub refused: usize,
    pub dropped: usize,
    pub delivered: usize,
    pub deliveries: usize,
    pub discarded: usize,
    /// How often `on_discard` was called, by reason.
    pub discards: BTreeMap<String, usize>,
    pub cleared: usize,
}

impl Report {
    pub fn enter(&mut self, account: &Account) {
        let stored = account.story == Story::Stored;
        self.acknowledged += usize::from(stored);
        self.refused += usize::from(account.story == Story::Refused);
        self.dropped += usize::from(account.story == Story::Dropped);
        self.stored_unacknowledged += usize::from(!stored && account.was_there());
        self.deliveries += usize::from(account.delivered);
        match (account.delivered, account.discarded) {
            (1.., _) => self.delivered += 1,
            (0, 1..) => self.discarded += 1,
            (0, 0) if stored && account.maybe_cleared => self.cleared += 1,
            (0, 0) => {}
        }
    }

    /// Acknowledged records that came to no known end.
    pub fn lost(&self) -> usize {
        (self.acknowledged + self.stored_unacknowledged)
            .saturating_sub(self.delivered + self.discarded + self.cleared)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "children: {} killed, {} ended, {} requests given up; {} requests judged, {} outages",
            self.kills, self.clean_ends, self.given_up, self.exchanges, self.outages
        )?;
        writeln!(
            f,
            "recorded {} (+ {} stored when killed or left) = delivered {} + discarded {} \
             + cleared {} + lost {}; refused {}, dropped {}",
            self.acknowledged,
            self.stored_unacknowledged,
            self.delivered,
            self.discarded,
            self.cleared,
            self.lost(),
            self.refused,
            self.dropped
        )?;
        writeln!(
            f,
            "delivered again: {} after lost answers, {} after kills (of {} in flight; {} at most \
             by one kill)",
            self.repeated_after_lost_answers,
            self.repeated_after_kills,
            self.in_flight_at_kill.values().sum::<usize>(),
            self.repeated_by_kill.values().max().unwrap_or(&0)
        )?;
        write!(
            f,
            "caches counted {} times ({} of {} streams to the record), cleared {} times of {}, \
             {} records overtaken after the service sent them back, {} by requests side by side; on_discard: {:?}",
            self.counts,
            self.exact_counts,
            self.counts * super::payload::STREAMS,
            self.clears,
            self.told_cleared,
            self.overtaken,
            self.overtaken_side_by_side,
            self.discards
        )
    }
}
