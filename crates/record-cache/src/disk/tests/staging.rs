//! Groups written in several parts.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use super::history::{SEGMENT_BYTES, open, some};
use super::sim::{Fault, Numbers, SimDisk};
use crate::index::paged::PlainIndex;
use crate::log::catalog::Catalog;
use crate::log::end::{Continuation, Log};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::log::frame::Seal;
use crate::log::group::{Call, Prepared};
use crate::log::outline::Outline;
use crate::{Durability, NewRecord, RecordStore, StreamName};

const SALT: u64 = 7;

fn catalog() -> Arc<Mutex<Catalog>> {
    let index = Box::new(PlainIndex::default());
    Arc::new(Mutex::new(Catalog::new(index)))
}

fn name() -> StreamName {
    StreamName::new("staged").unwrap()
}

fn call(number: u8) -> Call {
    let record = |n: usize| NewRecord::new(name(), None, vec![number; 100 + n]);
    Call::Append(Prepared::new(vec![record(0), record(1)]))
}

fn log(disk: &SimDisk, catalog: &Arc<Mutex<Catalog>>) -> Log {
    let durability = Durability::PowerLoss;
    let from = Continuation {
        salt: SALT,
        ..Continuation::default()
    };
    Log::new(
        Arc::new(disk.clone()),
        Arc::clone(catalog),
        durability,
        SEGMENT_BYTES,
        from,
    )
}

/// Writes a group of two calls, one of five in three parts, and one more call. Returns which calls
/// count.
fn three_groups(disk: &SimDisk) -> Vec<u8> {
    let mut log = log(disk, &catalog());
    let one: Vec<Call> = (0..2).map(call).collect();
    let mut accepted = Vec::new();
    if log.commit(&one, Durability::PowerLoss).is_ok() {
        accepted.extend([0, 1]);
    }
    let mut written = Vec::new();
    for part in [2..4, 4..6, 6..7] {
        let calls: Vec<Call> = part.clone().map(call).collect();
        if log.write(&calls).is_ok() {
            written.extend(part);
        }
    }
    if log.conclude(Durability::PowerLoss).is_ok() {
        accepted.append(&mut written);
    }
    if log.commit(&[call(7)], Durability::PowerLoss).is_ok() {
        accepted.push(7);
    }
    accepted
}

/// Fills a segment and begins the next one.
fn two_segments(log: &mut Log) {
    while log.active_segment().is_none_or(|number| number == 0) {
        log.commit(&[call(1)], Durability::PowerLoss).unwrap();
    }
}

fn first_segment(disk: &SimDisk) -> (u64, Option<Outline>) {
    let file = disk.open(&segment_name(0)).unwrap();
    let outline = Outline::read(&*file, &Seal::new(SALT, 0)).unwrap();
    (file.length().unwrap(), outline)
}

#[test]
fn an_outline_is_written_where_there_is_room() {
    for room in [true, false] {
        let disk = SimDisk::default();
        let index = catalog();
        let mut log = log(&disk, &index);
        two_segments(&mut log);
        let (frames, none) = first_segment(&disk);
        assert!(none.is_none());
        log.write_outlines(room);
        let (length, outline) = first_segment(&disk);
        assert_eq!(outline.is_some(), room);
        assert_eq!(length > frames, room);
        assert_eq!(index.lock().unwrap().segments[&0].length, length);
    }
}

#[test]
fn an_outline_that_the_disk_refuses_leaves_nothing_behind() {
    let disk = SimDisk::default();
    let mut log = log(&disk, &catalog());
    two_segments(&mut log);
    let (frames, _) = first_segment(&disk);
    let at = disk.operations();
    disk.fail(Fault::new(at..at + 1, ErrorKind::StorageFull));
    log.write_outlines(true);
    let (length, outline) = first_segment(&disk);
    assert_eq!(disk.operations(), at + 2, "it was tried, and cut off");
    assert!(outline.is_none());
    assert_eq!(length, frames);
}

#[test]
fn a_group_in_parts_knows_where_its_records_are_and_when_the_segment_is_full() {
    let disk = SimDisk::default();
    let mut log = log(&disk, &catalog());
    let mut written = Vec::new();
    let mut calls = 0;
    while !log.is_full_for(&[call(1)]) {
        written.extend(log.write(&[call(1)]).unwrap());
        calls += 1;
        assert!(calls < 100, "the segment is never full");
    }
    log.conclude(Durability::PowerLoss).unwrap();
    assert_eq!(written.len(), 2 * calls);
    assert!(written.is_sorted_by_key(|entry| entry.place));
    assert!(written[0].place < 400, "the first part counts as well");
    let (length, _) = first_segment(&disk);
    assert!(
        length <= SEGMENT_BYTES && length > SEGMENT_BYTES - 700,
        "{length}"
    );
}

/// Which calls are present. Each must be complete.
async fn calls_on(disk: &SimDisk) -> Vec<u8> {
    let store = open(disk, Durability::PowerLoss).await.unwrap();
    let found = store.oldest(&name(), None, some(usize::MAX)).await.unwrap();
    let damaged = (found.damaged.records, store.stats().damaged_records);
    assert_eq!(damaged, (0, 0));
    let numbers: Vec<u8> = found.records.iter().map(|record| record.data[0]).collect();
    let are_complete = numbers.chunks(2).all(|call| call == [call[0]; 2]);
    assert!(are_complete, "{numbers:?}");
    let calls = numbers.into_iter().step_by(2).collect();
    store.close().await.unwrap();
    calls
}

#[tokio::test]
async fn a_group_in_parts_is_there_when_it_is_committed_and_not_before() {
    let disk = SimDisk::default();
    assert_eq!(three_groups(&disk), [0, 1, 2, 3, 4, 5, 6, 7]);
    let mut numbers = Numbers::new(5);
    let all = disk.events();
    for at in 0..=all {
        for _ in 0..8 {
            let left = disk.after_a_loss_of_power(at, &mut numbers);
            let calls = calls_on(&left).await;
            assert!(calls.is_sorted(), "event {at}: {calls:?}");
            if at == all {
                assert_eq!(calls, [0, 1, 2, 3, 4, 5, 6, 7]);
            }
        }
    }
}

#[tokio::test]
async fn a_part_counts_when_it_is_written_and_the_sync_of_all_succeeds() {
    let disk = SimDisk::default();
    let _ = three_groups(&disk);
    for at in 0..disk.operations() {
        let disk = SimDisk::default();
        disk.fail_after(at, 1);
        let accepted = three_groups(&disk);
        assert!(accepted.len() < 8, "operation {at} did not fail");
        let mut numbers = Numbers::new(6);
        let left = disk.after_a_kill(disk.events(), &mut numbers);
        let found = calls_on(&left).await;
        if accepted.last() == Some(&7) {
            assert_eq!(found, accepted, "operation {at}");
        } else {
            // Refused calls may be present until something later says that they are not.
            let there = accepted.iter().all(|call| found.contains(call));
            assert!(there, "operation {at}: {found:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_cut_off_is_left_behind() {
    let disk = SimDisk::default();
    let mut log = log(&disk, &catalog());
    log.commit(&[call(0)], Durability::PowerLoss).unwrap();
    disk.fail_after(0, 2);
    let many: Vec<Call> = (1..9).map(call).collect();
    log.write(&many).unwrap_err();
    log.commit(&[call(9)], Durability::PowerLoss).unwrap();
    assert_eq!(log.active_segment(), Some(1));
    let mut numbers = Numbers::new(9);
    let left = disk.after_a_kill(disk.events(), &mut numbers);
    assert_eq!(calls_on(&left).await, [0, 9]);
}
