//! What a store had acknowledged by a moment, and whether it kept it.
//!
//! The promise is the contract of `RecordStore` with `Durability::PowerLoss`. After a power loss at
//! any moment:
//! - an acknowledged record that nobody asked to delete is there once, byte for byte, with its key
//!   and in its stream;
//! - nothing is there that was not appended;
//! - records of a stream are in the order in which their calls took effect, and those of one call
//!   in the order given;
//! - an append that was not acknowledged is there whole or not at all;
//! - records deleted by an acknowledged `clear` stay deleted;
//! - no record has more attempts than were charged;
//! - ids do not change, and new ids are above all seen before;
//! - the store opens, agrees with its counters, accepts records, closes, and reopens with the same
//!   records.
//!
//! Settlements may be undone, in whole or in part, and their records are delivered again. If only
//! the process ended, every settlement must be complete.

use std::collections::{BTreeMap, BTreeSet};

use super::inspect::{Found, Report};
use super::marks::{Mark, Put, Seen};

/// What ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Only the process: everything it had done is there.
    OfProcess,
    /// The power.
    OfPower,
}

/// Everything reported up to a moment.
#[derive(Debug, Default)]
pub struct Ledger {
    appends: BTreeMap<u64, Append>,
    /// By record number: the call that appended the record, and its place in that call.
    records: BTreeMap<u64, (u64, usize)>,
    settlements: BTreeMap<u64, Settle>,
    clears: Vec<Clear>,
    /// By record number: the id under which the record was read.
    ids: BTreeMap<u64, u64>,
    /// By record number: the most attempts that may have been counted.
    attempts: BTreeMap<u64, u32>,
}

#[derive(Debug)]
struct Append {
    began: usize,
    ended: Option<usize>,
    records: Vec<Put>,
}

#[derive(Debug)]
struct Settle {
    delete: Vec<u64>,
    count: Vec<u64>,
    ended: bool,
}

#[derive(Debug)]
struct Clear {
    call: u64,
    began: usize,
    ended: Option<usize>,
}

impl Ledger {
    /// Reads the marks. Their numbers give their order.
    pub fn of(marks: impl IntoIterator<Item = (usize, Mark)>) -> Self {
        let mut ledger = Self::default();
        for (at, mark) in marks {
            ledger.note(at, mark);
        }
        ledger
    }

    /// A number that no record has yet.
    pub fn next_number(&self) -> u64 {
        let records = self.records.keys().next_back().copied();
        let appends = self.appends.keys().next_back().copied();
        let clears = self.clears.iter().map(|clear| clear.call).max();
        let settlements = self.settlements.keys().next_back().copied();
        [records, appends, clears, settlements]
            .into_iter()
            .flatten()
            .max()
            .map_or(1, |number| number + 1)
    }

    /// The number of records that must be there.
    pub fn required(&self) -> usize {
        let deleted = self.maybe_deleted();
        self.records
            .keys()
            .filter(|number| self.is_required(**number, &deleted))
            .count()
    }

    /// Everything that is wrong with the findings.
    pub fn judge(&self, report: &Report, loss: Loss) -> Vec<String> {
        let mut wrong = report.failures.clone();
        let found: BTreeMap<u64, &Found> = report
            .records
            .iter()
            .map(|found| (found.number, found))
            .collect();
        if found.len() < report.records.len() {
            wrong.push("a record is there twice".to_owned());
        }
        for record in &report.records {
            self.judge_record(record, &mut wrong);
        }
        let deleted = self.maybe_deleted();
        for number in self.records.keys() {
            if self.is_required(*number, &deleted) && !found.contains_key(number) {
                wrong.push(format!("lost: record {number} was acknowledged"));
            }
        }
        self.judge_groups(&found, &deleted, &mut wrong);
        if loss == Loss::OfProcess {
            self.judge_settlements(&found, &mut wrong);
        }
        self.judge_order(report, &mut wrong);
        self.judge_ids(report, &mut wrong);
        wrong
    }

    fn note(&mut self, at: usize, mark: Mark) {
        match mark {
            Mark::Append { call, records } => {
                for (place, put) in records.iter().enumerate() {
                    self.records.insert(put.number, (call, place));
                }
                let append = Append {
                    began: at,
                    ended: None,
                    records,
                };
                self.appends.insert(call, append);
            }
            Mark::Appended { call } => {
                self.appends.get_mut(&call).unwrap().ended = Some(at);
            }
            Mark::Settle {
                call,
                delete,
                count,
            } => {
                for seen in delete.iter().chain(&count) {
                    self.ids.insert(seen.number, seen.id);
                }
                for seen in &count {
                    *self.attempts.entry(seen.number).or_default() += 1;
                }
                let numbers =
                    |all: Vec<Seen>| all.into_iter().map(|seen| seen.number).collect::<Vec<_>>();
                let settle = Settle {
                    delete: numbers(delete),
                    count: numbers(count),
                    ended: false,
                };
                self.settlements.insert(call, settle);
            }
            Mark::Settled { call } => {
                self.settlements.get_mut(&call).unwrap().ended = true;
            }
            Mark::Clear { call } => self.clears.push(Clear {
                call,
                began: at,
                ended: None,
            }),
            Mark::Cleared { call } => {
                let clear = self.clears.iter_mut().find(|clear| clear.call == call);
                clear.unwrap().ended = Some(at);
            }
        }
    }

    fn append_of(&self, number: u64) -> Option<(&Append, &Put)> {
        let (call, place) = self.records.get(&number)?;
        let append = &self.appends[call];
        Some((append, &append.records[*place]))
    }

    fn maybe_deleted(&self) -> BTreeSet<u64> {
        let settled = self.settlements.values().flat_map(|settle| &settle.delete);
        let cleared = self
            .records
            .keys()
            .filter(|number| self.maybe_cleared(**number));
        settled.chain(cleared).copied().collect()
    }

    fn maybe_cleared(&self, number: u64) -> bool {
        // A later call may have taken effect first if both were in progress at once.
        let began = self.append_of(number).map(|(append, _)| append.began);
        let spares = |clear: &Clear| clear.ended < began && clear.ended.is_some();
        began.is_some() && !self.clears.iter().all(spares)
    }

    fn surely_cleared(&self, number: u64) -> bool {
        let ended = self.append_of(number).and_then(|(append, _)| append.ended);
        ended.is_some_and(|ended| {
            self.clears
                .iter()
                .any(|clear| clear.ended.is_some() && clear.began > ended)
        })
    }

    fn is_required(&self, number: u64, deleted: &BTreeSet<u64>) -> bool {
        let acknowledged = self
            .append_of(number)
            .is_some_and(|(append, _)| append.ended.is_some());
        acknowledged && !deleted.contains(&number)
    }

    fn judge_record(&self, record: &Found, wrong: &mut Vec<String>) {
        let number = record.number;
        let Some((_, put)) = self.append_of(number) else {
            wrong.push(format!("invented: record {number}"));
            return;
        };
        if put.stream != record.stream || put.length != record.length {
            wrong.push(format!("record {number} has another stream or length"));
        }
        if self.surely_cleared(number) {
            wrong.push(format!("record {number} came back after it was cleared"));
        }
        let counted = self.attempts.get(&number).copied().unwrap_or(0);
        if record.attempts > counted {
            let attempts = record.attempts;
            wrong.push(format!(
                "record {number} has {attempts} attempts instead of {counted} at most"
            ));
        }
    }

    /// Each call must have taken effect whole or not at all.
    fn judge_groups(
        &self,
        found: &BTreeMap<u64, &Found>,
        deleted: &BTreeSet<u64>,
        wrong: &mut Vec<String>,
    ) {
        for (call, append) in &self.appends {
            let left = append.records.iter().map(|put| put.number);
            let left: Vec<_> = left.filter(|number| !deleted.contains(number)).collect();
            let there = left
                .iter()
                .filter(|number| found.contains_key(number))
                .count();
            if append.ended.is_none() && there > 0 && there < left.len() {
                let all = left.len();
                wrong.push(format!("call {call} took effect in part: {there} of {all}"));
            }
        }
    }

    fn judge_settlements(&self, found: &BTreeMap<u64, &Found>, wrong: &mut Vec<String>) {
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for number in self.settlements.values().flat_map(|settle| &settle.delete) {
            *times.entry(*number).or_default() += 1;
        }
        let mut charged: BTreeMap<u64, u32> = BTreeMap::new();
        for (call, settle) in &self.settlements {
            let alone = |number: &&u64| times[*number] == 1 && !self.maybe_cleared(**number);
            let deleted = settle.delete.iter().filter(alone);
            let (there, gone): (Vec<u64>, Vec<u64>) =
                deleted.partition(|number| found.contains_key(number));
            let left = there.len();
            if settle.ended && left > 0 {
                wrong.push(format!("settlement {call} was undone: {left} left"));
            } else if left > 0 && !gone.is_empty() {
                let all = left + gone.len();
                wrong.push(format!(
                    "settlement {call} took effect in part: {left} of {all} left, {there:?}"
                ));
            }
            for number in settle.count.iter().filter(|_| settle.ended) {
                *charged.entry(*number).or_default() += 1;
            }
        }
        for (number, found) in found {
            let charged = charged.get(number).copied().unwrap_or(0);
            if found.attempts < charged {
                let attempts = found.attempts;
                wrong.push(format!(
                    "record {number} has {attempts} attempts instead of {charged} at least"
                ));
            }
        }
    }

    fn judge_order(&self, report: &Report, wrong: &mut Vec<String>) {
        let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for record in &report.records {
            streams
                .entry(&record.stream)
                .or_default()
                .push(record.number);
        }
        for (stream, numbers) in streams {
            // The earliest acknowledgement among the records behind this one.
            let mut earliest = usize::MAX;
            for (at, number) in numbers.iter().enumerate().rev() {
                let Some((append, _)) = self.append_of(*number) else {
                    continue;
                };
                if earliest < append.began {
                    wrong.push(format!(
                        "record {number} of {stream} stands before an older one"
                    ));
                }
                earliest = earliest.min(append.ended.unwrap_or(usize::MAX));
                let next = numbers.get(at + 1).and_then(|next| self.records.get(next));
                if let (Some((call, place)), Some((next_call, next_place))) =
                    (self.records.get(number), next)
                    && call == next_call
                    && place > next_place
                {
                    wrong.push(format!("call {call} is not in its order"));
                }
            }
        }
    }

    /// Ids must not change, and new ones must be higher.
    fn judge_ids(&self, report: &Report, wrong: &mut Vec<String>) {
        let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
        for (number, id) in &self.ids {
            let Some((_, put)) = self.append_of(*number) else {
                continue;
            };
            let known = highest.entry(&put.stream).or_default();
            *known = (*known).max(*id);
        }
        for record in &report.records {
            let number = record.number;
            if self.ids.get(&number).is_some_and(|id| *id != record.id) {
                wrong.push(format!("record {number} has another id than before"));
            }
        }
        for (stream, id) in &report.probes {
            if highest
                .get(stream.as_str())
                .is_some_and(|known| id <= known)
            {
                wrong.push(format!("a new record of {stream} has an old id: {id}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inspect::{Found, Report};
    use super::super::marks::Mark::{Appended, Clear, Cleared, Settled};
    use super::super::marks::{Mark, Put, Seen};
    use super::{Ledger, Loss};

    fn append(call: u64, numbers: &[u64]) -> Mark {
        let put = |number: &u64| Put {
            stream: "s".to_owned(),
            number: *number,
            length: 20,
        };
        let records = numbers.iter().map(put).collect();
        Mark::Append { call, records }
    }

    /// Uses the numbers as ids.
    fn settle(call: u64, delete: &[u64], count: &[u64]) -> Mark {
        let seen = |numbers: &[u64]| {
            let seen = numbers.iter().map(|&number| Seen { number, id: number });
            seen.collect()
        };
        let (delete, count) = (seen(delete), seen(count));
        Mark::Settle {
            call,
            delete,
            count,
        }
    }

    fn story(more: &[Mark]) -> Vec<Mark> {
        let mut story = vec![
            append(1, &[1]),
            Appended { call: 1 },
            append(2, &[2, 3]),
            Appended { call: 2 },
            append(4, &[4]),
            settle(10, &[1], &[2]),
            append(5, &[5, 6]),
        ];
        story.extend_from_slice(more);
        story
    }

    fn found(number: u64) -> Found {
        Found {
            stream: "s".to_owned(),
            id: number,
            number,
            length: 20,
            attempts: 0,
        }
    }

    fn report(numbers: &[u64]) -> Report {
        Report {
            records: numbers.iter().copied().map(found).collect(),
            probes: vec![("s".to_owned(), 9)],
            ..Report::default()
        }
    }

    fn judge(story: &[Mark], numbers: &[u64], loss: Loss) -> Vec<String> {
        Ledger::of(story.iter().cloned().enumerate()).judge(&report(numbers), loss)
    }

    fn complains(story: &[Mark], numbers: &[u64], of: &str) -> bool {
        let wrong = judge(story, numbers, Loss::OfPower);
        wrong.iter().any(|text| text.contains(of))
    }

    #[test]
    fn what_may_be_is_accepted() {
        for numbers in [
            &[1, 2, 3, 4, 5, 6][..],
            &[2, 3],
            &[2, 3, 5, 6, 4],
            &[1, 2, 3, 4],
        ] {
            for loss in [Loss::OfPower, Loss::OfProcess] {
                assert_eq!(judge(&story(&[]), numbers, loss), [""; 0], "{numbers:?}");
            }
        }
    }

    #[test]
    fn what_must_not_be_is_told() {
        let story = story(&[]);
        assert!(complains(&story, &[2], "lost"));
        assert!(complains(&story, &[2, 3, 7], "invented"));
        assert!(complains(&story, &[2, 3, 3], "twice"));
        assert!(complains(&story, &[2, 3, 5], "in part"));
        assert!(complains(&story, &[4, 2, 3], "older"));
        assert!(complains(&story, &[3, 2], "order"));
    }

    #[test]
    fn what_was_cleared_stays_away() {
        let cleared = story(&[Clear { call: 7 }, Cleared { call: 7 }]);
        assert_eq!(judge(&cleared, &[4], Loss::OfPower), [""; 0]);
        assert!(complains(&cleared, &[2, 3], "cleared"));
    }

    #[test]
    fn what_was_appended_while_the_store_was_cleared_may_be_gone_or_not() {
        let mut story = vec![
            append(1, &[1]),
            Clear { call: 2 },
            append(3, &[3]),
            Appended { call: 1 },
            Appended { call: 3 },
        ];
        for numbers in [&[][..], &[1], &[3], &[1, 3]] {
            assert_eq!(judge(&story, numbers, Loss::OfPower), [""; 0]);
        }
        story.extend([Cleared { call: 2 }, append(4, &[4]), Appended { call: 4 }]);
        assert!(complains(&story, &[1, 3], "lost: record 4"));
    }

    #[test]
    fn settlements_are_undone_by_the_loss_of_power_only() {
        let under_way = story(&[settle(11, &[2, 3], &[])]);
        let settled = [&*under_way, &[10, 11].map(|call| Settled { call })].concat();
        for (story, numbers, wrong) in [
            (&under_way, &[][..], ""),
            (&under_way, &[2], "in part"),
            (&under_way, &[2, 3], ""),
            (&settled, &[][..], ""),
            (&settled, &[2], "undone"),
            (&settled, &[2, 3], "undone"),
        ] {
            assert_eq!(judge(story, numbers, Loss::OfPower), [""; 0]);
            let told = judge(story, numbers, Loss::OfProcess);
            assert_eq!(told.is_empty(), wrong.is_empty(), "{told:?}");
            assert!(told.concat().contains(wrong), "{told:?}");
        }
    }

    #[test]
    fn ids_and_attempts_are_watched() {
        let story = story(&[Settled { call: 10 }]);
        let ledger = Ledger::of(story.into_iter().enumerate());
        let mut report = report(&[2, 3]);
        let judge = |report: &_, loss| ledger.judge(report, loss).concat();
        assert_eq!(judge(&report, Loss::OfPower), "");
        assert!(judge(&report, Loss::OfProcess).contains("1 at least"));
        report.records[0].attempts = 1;
        assert_eq!(judge(&report, Loss::OfProcess), "");
        report.records[0].attempts = 2;
        assert!(judge(&report, Loss::OfPower).contains("1 at most"));
        report.records[0].attempts = 0;
        report.records[0].id = 8;
        assert!(judge(&report, Loss::OfPower).contains("another id"));
        report.records[0].id = 2;
        report.probes = vec![("s".to_owned(), 2)];
        assert!(judge(&report, Loss::OfPower).contains("old id"));
    }
}
