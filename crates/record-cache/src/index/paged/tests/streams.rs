//! Many streams used in turn.

use super::{checkpoint, entry, settings, stream};
use crate::index::Index;
use crate::index::paged::PagedIndex;
use crate::index::paged::database::numbers;
use crate::index::ranges::Ranges;

const STREAMS: usize = 1_000;

/// Puts and removes records of all streams in turn. Returns how many checkpoints that took, and
/// whether a database was created.
fn in_turn(records_in_memory: usize, of_each: usize) -> (usize, bool) {
    let home = tempfile::tempdir().unwrap();
    let mut index = PagedIndex::empty(home.path(), settings(records_in_memory));
    let names: Vec<_> = (0..STREAMS).map(stream).collect();
    let (mut checkpoints, mut on_disk) = (0, false);
    let mut keep = |index: &mut PagedIndex| {
        if index.wants_checkpoint() {
            checkpoints += 1;
            index.checkpoint(&checkpoint(1)).unwrap();
            on_disk |= !numbers(home.path()).is_empty();
        }
    };
    let mut number = 0;
    for _ in 0..of_each {
        for name in &names {
            index.put_one(name, entry(number, 0)).unwrap();
            keep(&mut index);
            number += 1;
        }
    }
    index.check();
    for (first, name) in (0..).zip(&names) {
        let own: Ranges = (first..number).step_by(STREAMS).collect();
        let mut removed = 0;
        index.remove(name, &own, &mut |_| removed += 1).unwrap();
        assert_eq!(removed, of_each);
        keep(&mut index);
    }
    assert!(index.streams.is_empty());
    (checkpoints, on_disk)
}

#[test]
fn streams_of_few_records_each_need_no_database() {
    assert_eq!(in_turn(2_048, 24), (0, false));
}

#[test]
fn a_checkpoint_is_of_many_streams_however_few_records_may_be_in_memory() {
    let (checkpoints, on_disk) = in_turn(8, 24);
    assert!(on_disk);
    assert!(checkpoints < 24 * STREAMS / 50, "{checkpoints} checkpoints");
}
