//! What a store has promised by a moment, and whether it keeps that.

use std::collections::{BTreeMap, BTreeSet};

use super::inspect::{Found, Report};
use super::marks::{Mark, Put};

/// All that was said up to a moment.
#[derive(Debug, Default)]
pub struct Ledger {
    appends: BTreeMap<u64, Append>,
    /// By number: the call that brought it, and its place in that call.
    records: BTreeMap<u64, (u64, usize)>,
    settlements: Vec<Settle>,
    clears: Vec<Clear>,
    /// By number: the id under which it was read.
    ids: BTreeMap<u64, u64>,
    /// By number: how often an attempt may have been counted.
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
}

#[derive(Debug)]
struct Clear {
    call: u64,
    began: usize,
    ended: bool,
}

impl Ledger {
    /// Reads the marks; the numbers say what came before what.
    pub fn of<'a>(marks: impl IntoIterator<Item = (usize, &'a str)>) -> Self {
        let mut ledger = Self::default();
        for (at, line) in marks {
            ledger.note(at, Mark::of_line(line));
        }
        ledger
    }

    /// A number that no record has yet.
    pub fn next_number(&self) -> u64 {
        let records = self.records.keys().next_back().copied();
        let appends = self.appends.keys().next_back().copied();
        let clears = self.clears.iter().map(|clear| clear.call).max();
        [records, appends, clears]
            .into_iter()
            .flatten()
            .max()
            .map_or(1, |number| number + 1)
    }

    /// How many records must be there.
    pub fn required(&self) -> usize {
        let deleted = self.maybe_deleted();
        self.records
            .keys()
            .filter(|number| self.is_required(**number, &deleted))
            .count()
    }

    /// Everything that is wrong with what was found.
    pub fn judge(&self, report: &Report) -> Vec<String> {
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
        // Salvage may bring back what was settled, and not all of it.
        if !report.moved_aside {
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
            Mark::Settle { delete, count, .. } => {
                for seen in delete.iter().chain(&count) {
                    self.ids.insert(seen.number, seen.id);
                }
                for seen in &count {
                    *self.attempts.entry(seen.number).or_default() += 1;
                }
                let delete = delete.iter().map(|seen| seen.number).collect();
                self.settlements.push(Settle { delete });
            }
            Mark::Clear { call } => self.clears.push(Clear {
                call,
                began: at,
                ended: false,
            }),
            Mark::Cleared { call } => {
                let clear = self.clears.iter_mut().find(|clear| clear.call == call);
                clear.unwrap().ended = true;
            }
        }
    }

    fn append_of(&self, number: u64) -> Option<(&Append, &Put)> {
        let (call, place) = self.records.get(&number)?;
        let append = &self.appends[call];
        Some((append, &append.records[*place]))
    }

    fn maybe_deleted(&self) -> BTreeSet<u64> {
        let settled = self.settlements.iter().flat_map(|settle| &settle.delete);
        let cleared = self
            .records
            .keys()
            .filter(|number| self.maybe_cleared(**number));
        settled.chain(cleared).copied().collect()
    }

    fn maybe_cleared(&self, number: u64) -> bool {
        let append = self.append_of(number);
        append.is_some_and(|(append, _)| self.clears.iter().any(|clear| clear.began > append.began))
    }

    fn surely_cleared(&self, number: u64) -> bool {
        let ended = self.append_of(number).and_then(|(append, _)| append.ended);
        ended.is_some_and(|ended| {
            self.clears
                .iter()
                .any(|clear| clear.ended && clear.began > ended)
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

    /// A call took effect whole or not at all.
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
        for number in self.settlements.iter().flat_map(|settle| &settle.delete) {
            *times.entry(*number).or_default() += 1;
        }
        for settle in &self.settlements {
            let alone = |number: &&u64| times[*number] == 1 && !self.maybe_cleared(**number);
            let deleted: Vec<&u64> = settle.delete.iter().filter(alone).collect();
            let there = deleted
                .iter()
                .filter(|number| found.contains_key(number))
                .count();
            if there > 0 && there < deleted.len() {
                let all = deleted.len();
                wrong.push(format!(
                    "a settlement took effect in part: {there} of {all} left, {deleted:?}"
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
            // The earliest acknowledgement among those that stand behind.
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

    /// Ids only grow, and stay what they are.
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
    use super::Ledger;

    const STORY: &[&str] = &[
        "append 1 s:1:20",
        "appended 1",
        "append 2 s:2:20 s:3:20",
        "appended 2",
        "append 4 s:4:20",
        "settle s -1@1 +2@2",
        "append 5 s:5:20 s:6:20",
    ];

    fn found(number: u64) -> Found {
        Found {
            stream: "s".to_owned(),
            id: number,
            number,
            length: 20,
            attempts: 0,
        }
    }

    fn judge(story: &[&str], numbers: &[u64]) -> Vec<String> {
        let report = Report {
            records: numbers.iter().copied().map(found).collect(),
            probes: vec![("s".to_owned(), 9)],
            ..Report::default()
        };
        Ledger::of(story.iter().copied().enumerate()).judge(&report)
    }

    fn complains(story: &[&str], numbers: &[u64], of: &str) -> bool {
        let wrong = judge(story, numbers);
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
            assert_eq!(judge(STORY, numbers), [""; 0], "{numbers:?}");
        }
    }

    #[test]
    fn what_must_not_be_is_told() {
        assert!(complains(STORY, &[2], "lost"));
        assert!(complains(STORY, &[2, 3, 7], "invented"));
        assert!(complains(STORY, &[2, 3, 3], "twice"));
        assert!(complains(STORY, &[2, 3, 5], "in part"));
        assert!(complains(STORY, &[4, 2, 3], "older"));
        assert!(complains(STORY, &[3, 2], "order"));
        let cleared = [STORY, &["clear 7", "cleared 7"]].concat();
        assert_eq!(judge(&cleared, &[4]), [""; 0]);
        assert!(complains(&cleared, &[2, 3], "cleared"));
        let settled = [STORY, &["settle s -2@2 -3@3"]].concat();
        assert_eq!(judge(&settled, &[]), [""; 0]);
        assert!(complains(&settled, &[2], "settlement"));
    }

    #[test]
    fn ids_and_attempts_are_watched() {
        let ledger = Ledger::of(STORY.iter().copied().enumerate());
        let mut report = Report {
            records: vec![found(2), found(3)],
            ..Report::default()
        };
        report.records[0].attempts = 1;
        assert_eq!(ledger.judge(&report), [""; 0]);
        report.records[0].attempts = 2;
        assert!(ledger.judge(&report)[0].contains("attempts"));
        report.records[0].attempts = 0;
        report.records[0].id = 8;
        assert!(ledger.judge(&report)[0].contains("another id"));
        report.records[0].id = 2;
        report.probes = vec![("s".to_owned(), 2)];
        assert!(ledger.judge(&report)[0].contains("old id"));
    }
}
