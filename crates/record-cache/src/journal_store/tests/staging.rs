//! Groups that are written in several parts.

use std::io::ErrorKind;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::history::{SEGMENT_BYTES, open};
use super::sim::{Fault, Numbers, SimDisk};
use crate::journal_store::group::Call;
use crate::journal_store::index::Index;
use crate::journal_store::log::{Barrier, Continuation, Log};
use crate::{Durability, NewRecord, ReadLimits, RecordStore, StoreError, StreamName};

const SALT: u64 = 7;

fn name() -> StreamName {
    StreamName::new("staged").unwrap()
}

fn call(number: u8) -> Call {
    let record = |n: usize| NewRecord::new(name(), None, vec![number; 100 + n]);
    Call::Append {
        records: vec![record(0), record(1)],
        origin: None,
    }
}

fn log(disk: &SimDisk) -> Log {
    let durability = Durability::PowerLoss;
    let from = Continuation::default();
    Log::new(
        Arc::new(disk.clone()),
        durability,
        SEGMENT_BYTES,
        SALT,
        from,
    )
}

/// A group of two calls, one of five in three parts, and one more call.
fn three_groups(disk: &SimDisk) -> [Result<(), StoreError>; 3] {
    let index = Mutex::new(Index::default());
    let mut log = log(disk);
    let one: Vec<Call> = (0..2).map(call).collect();
    let first = log.commit(&index, &one, Barrier::Synced);
    let two: Vec<Call> = (2..7).map(call).collect();
    let second = log
        .stage(&index, &two[..2])
        .and_then(|()| {
            assert_eq!(log.staged_calls(), 2);
            log.stage(&index, &two[..4])
        })
        .and_then(|()| log.commit(&index, &two, Barrier::Synced));
    assert_eq!(log.staged_calls(), 0);
    let third = log.commit(&index, &[call(7)], Barrier::Synced);
    [first.map(drop), second.map(drop), third.map(drop)]
}

/// Which calls are there; each is whole.
async fn calls_on(disk: &SimDisk) -> Vec<u8> {
    let place = TempDir::new().unwrap();
    let store = open(place.path(), disk, Durability::PowerLoss).await;
    let store = store.unwrap();
    let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    let found = store.oldest(&name(), None, all).await.unwrap();
    assert_eq!(
        (found.damaged.records, store.stats().damaged_records),
        (0, 0)
    );
    let numbers = found.records.iter().map(|record| record.data[0]);
    let numbers: Vec<u8> = numbers.collect();
    assert!(
        numbers.chunks(2).all(|call| call == [call[0]; 2]),
        "{numbers:?}"
    );
    let calls = numbers.into_iter().step_by(2).collect();
    store.close().await.unwrap();
    calls
}

#[tokio::test]
async fn a_group_in_parts_is_there_when_it_is_committed_and_not_before() {
    let disk = SimDisk::new("nowhere".as_ref());
    assert!(three_groups(&disk).iter().all(Result::is_ok));
    let mut numbers = Numbers::new(5);
    let all = disk.events();
    for at in 0..=all {
        for _ in 0..8 {
            let left = disk.after_a_loss_of_power("nowhere".as_ref(), at, &mut numbers);
            let calls = calls_on(&left).await;
            assert!(calls.is_sorted(), "event {at}: {calls:?}");
            if at == all {
                assert_eq!(calls, [0, 1, 2, 3, 4, 5, 6, 7]);
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_a_group_counts_when_a_part_of_it_fails() {
    let disk = SimDisk::new("nowhere".as_ref());
    let _ = three_groups(&disk);
    for at in 0..disk.operations() {
        let disk = SimDisk::new("nowhere".as_ref());
        disk.fail(Fault {
            from: at,
            to: at + 1,
            kind: ErrorKind::Other,
        });
        let outcomes = three_groups(&disk);
        let groups = [0..2, 2..7, 7..8].into_iter().zip(&outcomes);
        let accepted = groups.filter(|(_, outcome)| outcome.is_ok());
        let expected: Vec<u8> = accepted.flat_map(|(calls, _)| calls).collect();
        assert!(expected.len() < 8, "operation {at} did not fail");
        let mut numbers = Numbers::new(6);
        let left = disk.after_a_kill("nowhere".as_ref(), disk.events(), &mut numbers);
        let found = calls_on(&left).await;
        if outcomes[2].is_ok() {
            assert_eq!(found, expected, "operation {at}");
        } else {
            // What was refused may be there until something later says that it is not.
            let there = expected.iter().all(|call| found.contains(call));
            assert!(there, "operation {at}: {found:?}");
        }
    }
}
