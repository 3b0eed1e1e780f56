//! Groups written in several parts.

use std::io::ErrorKind;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::history::{SEGMENT_BYTES, open};
use super::sim::{Fault, Numbers, SimDisk};
use crate::index::paged::PlainIndex;
use crate::log::catalog::Catalog;
use crate::log::end::{Barrier, Continuation, Log};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::log::group::Call;
use crate::log::outline::Outline;
use crate::{Durability, NewRecord, ReadLimits, RecordStore, StoreError, StreamName};

const SALT: u64 = 7;

fn catalog() -> Mutex<Catalog> {
    Mutex::new(Catalog::new(Box::new(PlainIndex::default())))
}

fn name() -> StreamName {
    StreamName::new("staged").unwrap()
}

fn call(number: u8) -> Call {
    let record = |n: usize| NewRecord::new(name(), None, vec![number; 100 + n]);
    Call::Append(vec![record(0), record(1)])
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
    let index = catalog();
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

/// Fills a segment and begins the next one.
fn two_segments(log: &mut Log, index: &Mutex<Catalog>) {
    while log.active_segment().is_none_or(|number| number == 0) {
        log.commit(index, &[call(1)], Barrier::Synced).unwrap();
    }
}

fn first_segment(disk: &SimDisk) -> (u64, Option<Outline>) {
    let file = disk.open(&segment_name(0)).unwrap();
    let outline = Outline::read(&*file, 0, SALT).unwrap();
    (file.length().unwrap(), outline)
}

#[test]
fn an_outline_is_written_where_there_is_room() {
    for room in [true, false] {
        let disk = SimDisk::new("nowhere".as_ref());
        let (index, mut log) = (catalog(), log(&disk));
        two_segments(&mut log, &index);
        let (frames, none) = first_segment(&disk);
        assert!(none.is_none());
        log.write_outlines(&index, room);
        let (length, outline) = first_segment(&disk);
        assert_eq!(outline.is_some(), room);
        assert_eq!(length > frames, room);
        assert_eq!(index.lock().unwrap().segments[&0].length, length);
    }
}

#[test]
fn an_outline_that_the_disk_refuses_leaves_nothing_behind() {
    let disk = SimDisk::new("nowhere".as_ref());
    let (index, mut log) = (catalog(), log(&disk));
    two_segments(&mut log, &index);
    let (frames, _) = first_segment(&disk);
    let at = disk.operations();
    disk.fail(Fault {
        from: at,
        to: at + 1,
        kind: ErrorKind::StorageFull,
    });
    log.write_outlines(&index, true);
    let (length, outline) = first_segment(&disk);
    assert_eq!(disk.operations(), at + 2, "it was tried, and cut off");
    assert!(outline.is_none());
    assert_eq!(length, frames);
}

#[test]
fn a_group_in_parts_knows_where_its_records_are_and_when_the_segment_is_full() {
    let disk = SimDisk::new("nowhere".as_ref());
    let (index, mut log) = (catalog(), log(&disk));
    let mut calls = Vec::new();
    while !log.is_full_for(&calls) {
        log.stage(&index, &calls).unwrap();
        calls.push(call(1));
        assert!(calls.len() < 100, "the segment is never full");
    }
    calls.pop();
    let written = log.commit(&index, &calls, Barrier::Synced).unwrap();
    assert_eq!(written.len(), 2 * calls.len());
    assert!(written.is_sorted_by_key(|entry| entry.place));
    assert!(written[0].place < 400, "the first part counts as well");
    let (length, _) = first_segment(&disk);
    assert!(length <= SEGMENT_BYTES && length > SEGMENT_BYTES - 600);
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
