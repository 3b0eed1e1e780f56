//! sled panics, fails or hangs: only the index breaks, and it does so in time.

use std::thread;
use std::time::Duration;

use super::{ALL, checkpoint, entry, filled, settings, stream};
use crate::index::paged::worker::Outcome;
use crate::index::paged::{IndexSettings, PagedIndex, database};
use crate::index::ranges::Ranges;
use crate::index::{Broken, Index};

/// What goes wrong, and at which job of each thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    /// Jobs that succeed first.
    pub(crate) after: u64,
    pub(crate) kind: TroubleKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    Panic,
    Fail,
    Hang,
}

impl Trouble {
    pub(crate) fn at_next_job(this: &mut Option<Self>) -> Option<TroubleKind> {
        let trouble = this.as_mut()?;
        let kind = (trouble.after == 0).then_some(trouble.kind);
        trouble.after = trouble.after.wrapping_sub(1);
        kind
    }
}

impl TroubleKind {
    pub(crate) fn meet(self) -> Outcome<()> {
        match self {
            Self::Fail => Err("it was told to fail".to_owned()),
            Self::Panic => panic!("it was told to panic"),
            Self::Hang => loop {
                thread::park();
            },
        }
    }
}

const KINDS: [TroubleKind; 3] = [TroubleKind::Panic, TroubleKind::Fail, TroubleKind::Hang];

/// Settings for an index that pages on every call and fails after this many jobs.
fn troubled(after: u64, kind: TroubleKind) -> IndexSettings {
    // Long enough for jobs that do not hang, even on a busy machine.
    let millis = if kind == TroubleKind::Hang {
        500
    } else {
        60_000
    };
    IndexSettings {
        limit: Duration::from_millis(millis),
        trouble: Some(Trouble { after, kind }),
        ..settings(8)
    }
}

/// Uses every operation.
fn use_index(index: &mut PagedIndex) -> Result<(), Broken> {
    for round in 0..4 {
        let name = stream(round % 3);
        index.checkpoint(&checkpoint(round as u64))?;
        index.after(&name, Some(300), ALL)?;
        let numbers: Ranges = (200..700).collect();
        index.find(&name, &numbers)?;
        index.count_attempts(&name, &numbers)?;
        index.put_one(&name, entry(5_000 + round as u64, 0))?;
        index.remove(&name, &numbers, &mut |_| ())?;
    }
    index.clear()?;
    index.close(&checkpoint(9))
}

fn assert_broken(index: &mut PagedIndex, reason: &Broken) {
    let (name, numbers) = (stream(0), Ranges::default());
    assert_eq!(index.put_one(&name, entry(9_000, 0)).as_ref(), Err(reason));
    assert_eq!(index.find(&name, &numbers).as_ref(), Err(reason));
    let removed = index.remove(&name, &numbers, &mut |_| ());
    assert_eq!(removed.as_ref(), Err(reason));
    assert_eq!(index.count_attempts(&name, &numbers).as_ref(), Err(reason));
    assert_eq!(index.after(&name, None, ALL).as_ref(), Err(reason));
    assert_eq!(index.clear().as_ref(), Err(reason));
    assert_eq!(index.checkpoint(&checkpoint(9)).as_ref(), Err(reason));
    assert_eq!(index.close(&checkpoint(9)).as_ref(), Err(reason));
    assert!(!index.wants_checkpoint());
}

#[test]
fn trouble_at_any_job_breaks_the_index_and_another_can_be_made() {
    for kind in KINDS {
        let mut after = 0;
        loop {
            let home = tempfile::tempdir().unwrap();
            let (mut index, state) = filled(home.path(), troubled(after, kind));
            let Err(reason) = use_index(&mut index) else {
                break;
            };
            let words = match kind {
                TroubleKind::Panic => "panicked: it was told to panic",
                TroubleKind::Fail => "it was told to fail",
                TroubleKind::Hang => "no answer within 500ms",
            };
            assert_eq!(reason, Broken(words.to_owned()));
            assert_broken(&mut index, &reason);

            // Works while the first index's thread still hangs.
            let mut other = PagedIndex::empty(home.path(), settings(8));
            for (name, entries) in &state {
                for entry in entries.values() {
                    other.put_one(name, *entry).unwrap();
                }
            }
            other.checkpoint(&checkpoint(1)).unwrap();
            assert_eq!(super::held(&mut other, state.keys()), state);
            other.check();
            drop(other);
            let (_, restored) = PagedIndex::open(home.path(), settings(8));
            assert_eq!(restored.unwrap().0, checkpoint(1));
            // Takes larger steps, because each hang takes long.
            after += if kind == TroubleKind::Hang { 5 } else { 1 };
        }
        assert!(after > 20, "{kind:?}: all of {after} jobs");
    }
}

#[test]
fn trouble_at_an_opening_leaves_nothing() {
    for kind in KINDS {
        let home = tempfile::tempdir().unwrap();
        let (mut index, _) = filled(home.path(), settings(8));
        index.close(&checkpoint(1)).unwrap();
        let (mut index, restored) = PagedIndex::open(home.path(), troubled(0, kind));
        assert!(restored.is_none());
        assert_eq!(database::numbers(home.path()), []);
        index.put_one(&stream(0), entry(1, 0)).unwrap();
        assert_eq!(index.after(&stream(0), None, ALL).unwrap(), [entry(1, 0)]);
    }
}
