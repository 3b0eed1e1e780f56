//! Compares the index with a plain map.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{ALL, State, checkpoint, entry, held, settings, stats, stream};
use crate::ReadLimits;
use crate::index::paged::PagedIndex;
use crate::index::ranges::Ranges;
use crate::index::{Checkpoint, Index};

const STREAMS: usize = 3;

/// Some records of a stream: every `stride`-th from a place on.
#[derive(Debug, Clone)]
struct Chosen {
    stream: usize,
    at: usize,
    records: usize,
    stride: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// The number of records, and how many numbers to skip between them.
    Append {
        stream: usize,
        records: u64,
        skip: u64,
    },
    /// Adds some of the numbers skipped earlier.
    Late {
        stream: usize,
        at: usize,
        records: usize,
    },
    /// Moves records to another place.
    Relocate(Chosen),
    Remove(Chosen),
    CountAttempts(Chosen),
    Find {
        stream: usize,
        at: u64,
        numbers: u64,
    },
    After {
        stream: usize,
        at: Option<u64>,
        records: usize,
        bytes: u64,
    },
    Clear,
    /// What the owner does continually while reading a log.
    Relieve,
    /// What the owner does when the index asks for it.
    CheckpointIfWanted,
    Checkpoint,
    Close,
    /// The process ends.
    Kill,
    Compare,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || {
        let parts = (0..STREAMS, 0_usize..3_000, 1_usize..700, 1_usize..5);
        parts.prop_map(|(stream, at, records, stride)| Chosen {
            stream,
            at,
            records,
            stride,
        })
    };
    let step = prop_oneof![
        5 => (0..STREAMS, prop_oneof![1_u64..6, 1_u64..700], 0_u64..3)
            .prop_map(|(stream, records, skip)| Step::Append { stream, records, skip }),
        1 => (0..STREAMS, any::<usize>(), 1_usize..90)
            .prop_map(|(stream, at, records)| Step::Late { stream, at, records }),
        2 => some().prop_map(Step::Relocate),
        4 => some().prop_map(Step::Remove),
        2 => some().prop_map(Step::CountAttempts),
        2 => (0..STREAMS, 0_u64..5_000, 1_u64..900)
            .prop_map(|(stream, at, numbers)| Step::Find { stream, at, numbers }),
        3 => (0..STREAMS, proptest::option::of(0_u64..5_000), 1_usize..600, 1_u64..100_000)
            .prop_map(|(stream, at, records, bytes)| Step::After { stream, at, records, bytes }),
        1 => Just(Step::Clear),
        3 => Just(Step::Relieve),
        6 => Just(Step::CheckpointIfWanted),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::Compare),
    ];
    vec(step, 1..50)
}

struct Model {
    home: tempfile::TempDir,
    budget: usize,
    index: PagedIndex,
    state: State,
    /// Each checkpoint with the contents at that time.
    checkpoints: Vec<(Checkpoint, State)>,
    next: u64,
    skipped: Vec<u64>,
    moves: u32,
}

impl Model {
    fn new(budget: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (index, restored) = PagedIndex::open(home.path(), settings(budget));
        assert!(restored.is_none());
        Self {
            index,
            home,
            budget,
            state: (0..STREAMS).map(|n| (stream(n), [].into())).collect(),
            checkpoints: Vec::new(),
            next: 5,
            skipped: Vec::new(),
            moves: 0,
        }
    }

    fn put(&mut self, to: usize, number: u64) {
        let name = stream(to);
        let entry = entry(number, self.moves);
        let old = self.state.get_mut(&name).unwrap().insert(number, entry);
        assert_eq!(self.index.put_one(&name, entry).unwrap(), old);
    }

    /// Some existing numbers of a stream, along with numbers that need not exist.
    fn some(&self, chosen: &Chosen) -> Ranges {
        let there: Vec<u64> = self.state[&stream(chosen.stream)].keys().copied().collect();
        let at = chosen.at % there.len().max(1);
        let numbers = there.into_iter().skip(at).take(chosen.records);
        let numbers = numbers.step_by(chosen.stride);
        numbers.chain([3, self.next + 100]).collect()
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let at = checkpoint(self.next * 100 + self.checkpoints.len() as u64);
        self.checkpoints.push((at.clone(), self.state.clone()));
        at
    }

    fn open(&mut self, is_kill: bool) {
        let had_checkpoint = self.index.pages.parts > 0;
        let there = !super::super::database::numbers(self.home.path()).is_empty();
        // Drops the old index first, as the end of the process would.
        self.index = PagedIndex::empty(self.home.path(), settings(self.budget));
        let (index, restored) = PagedIndex::open(self.home.path(), settings(self.budget));
        self.index = index;
        match restored {
            None => {
                let may_be_gone = !there || (is_kill && !had_checkpoint);
                assert!(may_be_gone, "the checkpoint is there");
                self.state.values_mut().for_each(|entries| entries.clear());
            }
            Some((at, counted)) => {
                let (last, state) = self.checkpoints.pop().unwrap();
                assert_eq!(at, last);
                assert_eq!(counted, stats(&state));
                self.checkpoints.push((last, state.clone()));
                self.state = state;
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                stream,
                records,
                skip,
            } => {
                let name = super::stream(stream);
                let mut new = Vec::new();
                for n in 0..records {
                    new.push(entry(self.next, self.moves));
                    self.next += 1;
                    if n % 3 == 0 {
                        self.skipped.extend(self.next..self.next + skip);
                        self.next += skip;
                    }
                }
                let mut replaced = |old| panic!("{old:?} was replaced");
                self.index.put(&name, &new, &mut replaced).unwrap();
                let new = new.into_iter().map(|entry| (entry.sequence, entry));
                self.state.get_mut(&name).unwrap().extend(new);
            }
            Step::Late {
                stream,
                at,
                records,
            } => {
                for n in 0..records.min(self.skipped.len()) {
                    // Adds them in no particular order.
                    let at = at.wrapping_add(n * 7) % self.skipped.len();
                    let number = self.skipped.swap_remove(at);
                    self.put(stream, number);
                }
            }
            Step::Relocate(chosen) => {
                self.moves += 1;
                for number in self.some(&chosen).numbers() {
                    if self.state[&stream(chosen.stream)].contains_key(&number) {
                        self.put(chosen.stream, number);
                    }
                }
            }
            Step::Remove(chosen) => {
                let numbers = self.some(&chosen);
                let name = stream(chosen.stream);
                let there = self.state.get_mut(&name).unwrap();
                let expected: Vec<_> = numbers.numbers().filter_map(|n| there.remove(&n)).collect();
                let mut removed = Vec::new();
                let take = &mut |entry| removed.push(entry);
                self.index.remove(&name, &numbers, take).unwrap();
                assert_eq!(removed, expected);
            }
            Step::CountAttempts(chosen) => {
                let numbers = self.some(&chosen);
                let name = stream(chosen.stream);
                let there = self.state.get_mut(&name).unwrap();
                for number in numbers.numbers() {
                    if let Some(entry) = there.get_mut(&number) {
                        entry.attempts += 1;
                    }
                }
                self.index.count_attempts(&name, &numbers).unwrap();
            }
            Step::Find {
                stream,
                at,
                numbers,
            } => {
                let mut sought = Ranges::default();
                sought.insert(at, at + numbers / 3);
                sought.insert(at + numbers / 2, at + numbers);
                let name = super::stream(stream);
                let there = &self.state[&name];
                let expected = sought.numbers().filter_map(|n| there.get(&n).copied());
                let expected: Vec<_> = expected.collect();
                assert_eq!(self.index.find(&name, &sought).unwrap(), expected);
            }
            Step::After {
                stream,
                at,
                records,
                bytes,
            } => {
                let most = records.try_into().unwrap();
                let limits = ReadLimits::new(most, bytes.try_into().unwrap());
                let name = super::stream(stream);
                let behind = at.map_or(0, |at| at + 1);
                let mut expected = Vec::new();
                let mut sum = 0;
                for entry in self.state[&name].range(behind..).map(|(_, entry)| *entry) {
                    sum += u64::from(entry.size);
                    if !expected.is_empty() && (expected.len() >= records || sum > bytes) {
                        break;
                    }
                    expected.push(entry);
                }
                assert_eq!(self.index.after(&name, at, limits).unwrap(), expected);
            }
            Step::Clear => {
                self.index.clear().unwrap();
                self.state.values_mut().for_each(|entries| entries.clear());
            }
            Step::Relieve => {
                self.index.relieve().unwrap();
                assert!(self.index.pages.counts.changed <= self.index.pages.budget);
            }
            Step::CheckpointIfWanted => {
                if self.index.wants_checkpoint() {
                    let at = self.checkpoint();
                    self.index.checkpoint(&at).unwrap();
                    assert!(!self.index.wants_checkpoint(), "it got what it wanted");
                }
            }
            Step::Checkpoint => {
                let at = self.checkpoint();
                self.index.checkpoint(&at).unwrap();
            }
            Step::Close => {
                let at = self.checkpoint();
                self.index.close(&at).unwrap();
                assert!(self.index.find(&stream(0), &Ranges::default()).is_err());
                self.open(false);
            }
            Step::Kill => self.open(true),
            Step::Compare => self.compare(),
        }
        self.index.check();
    }

    fn compare(&mut self) {
        let held = held(&mut self.index, self.state.keys());
        assert_eq!(held, self.state);
        for name in self.state.keys() {
            let behind = self.index.after(name, Some(u64::MAX), ALL).unwrap();
            assert_eq!(behind, []);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_index_agrees_with_a_plain_map(
        budget in prop_oneof![Just(1_usize), Just(8), Just(64), Just(1_500), Just(1 << 17), Just(usize::MAX)],
        steps in steps(),
    ) {
        let mut model = Model::new(budget);
        for step in steps {
            model.take(step);
        }
        model.compare();
        model.index.check();
    }
}
