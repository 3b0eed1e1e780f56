//! Complete calls after a hole: rewritten once, then kept.

use std::io::IoSlice;
use std::ops::Range;

use super::history::{OTHER, open, some};
use super::sim::{Fault, Numbers, SimDisk};
use crate::log::files::Disk;
use crate::log::format::{MARK, RESERVE, SEGMENT_HEADER_BYTES, segment_name};
use crate::log::frame::GroupBody;
use crate::{Durability, NewRecord, Record, RecordStore, Settlement, StreamName};

const DURABILITY: Durability = Durability::PowerLoss;

/// A log with a hole, followed by two records of one call. Each spans several sectors, so a power
/// loss can leave the call in part where it is rewritten.
///
/// A power loss leaves such a hole when it loses a settlement, which is not synced on its own, but
/// not what was written after it.
async fn a_log_with_a_hole() -> SimDisk {
    let disk = SimDisk::default();
    let store = open(&disk, DURABILITY).await.unwrap();
    let name = StreamName::new(OTHER).unwrap();
    let length = || disk.open(&segment_name(0)).unwrap().length().unwrap();
    let record = |data: &str| NewRecord::new(name.clone(), None, data.repeat(300));
    store.append(vec![record("first")]).await.unwrap();
    let from = length();
    let first = store.oldest(&name, None, some(1)).await.unwrap().records[0].id;
    let settled = Settlement::new(name.clone()).count_attempt([first]);
    store.settle(settled).await.unwrap();
    let to = length();
    let behind = vec![record("second"), record("third")];
    store.append(behind).await.unwrap();
    let left = disk.as_it_is();
    wipe(&left, 0, from..to);
    left
}

fn wipe(disk: &SimDisk, segment: u32, places: Range<u64>) {
    let nothing = vec![0; usize::try_from(places.end - places.start).unwrap()];
    let file = disk.open(&segment_name(segment)).unwrap();
    let written = file.write(&mut [IoSlice::new(&nothing)], places.start);
    written.unwrap();
}

async fn records(disk: &SimDisk) -> Vec<Record> {
    let store = open(disk, DURABILITY).await.unwrap();
    let name = StreamName::new(OTHER).unwrap();
    let records = store.oldest(&name, None, some(9)).await.unwrap().records;
    assert_eq!(store.stats().records(), records.len());
    assert_eq!(store.stats().damaged_records, 0);
    store.close().await.unwrap();
    records
}

#[tokio::test]
async fn what_was_written_once_more_is_there_whenever_the_store_is_opened_again() {
    let disk = a_log_with_a_hole().await;
    let held = records(&disk).await;
    assert_eq!(held.len(), 3);
    for opening in 2..6 {
        assert_eq!(records(&disk).await, held, "opening {opening}");
    }
}

#[tokio::test]
async fn what_was_written_once_more_needs_no_frame_but_its_own() {
    let disk = a_log_with_a_hole().await;
    let held = records(&disk).await;
    let group = GroupBody::FRAME_BYTES;
    wipe(&disk, 1, SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + group);
    for with_mark in [true, false] {
        let disk = disk.as_it_is();
        if !with_mark {
            disk.remove(MARK).unwrap();
        }
        assert_eq!(records(&disk).await, held);
        let store = open(&disk, DURABILITY).await.unwrap();
        let name = StreamName::new(OTHER).unwrap();
        let record = NewRecord::new(name, None, "fourth");
        store.append(vec![record]).await.unwrap();
        store.close().await.unwrap();
        let more = records(&disk).await;
        assert_eq!(more.split_last().unwrap().1, held, "a mark: {with_mark}");
    }
}

#[tokio::test]
async fn what_is_written_once_more_on_a_full_disk_survives_another_loss_of_power() {
    let mut numbers = Numbers::new(91);
    let mut in_reserved_space = 0;
    let before = a_log_with_a_hole().await;
    let held = records(&before.as_it_is()).await;
    for full in 0..16 {
        let disk = before.as_it_is();
        disk.fail(Fault::new(full..full + 1, std::io::ErrorKind::StorageFull));
        let Ok(store) = open(&disk, DURABILITY).await else {
            continue;
        };
        let opened = disk.events();
        in_reserved_space += usize::from(disk.open(RESERVE).is_err());
        drop(store);
        for then in (0..=opened).flat_map(|then| [then; 8]) {
            let left = disk.after_a_loss_of_power(then, &mut numbers);
            let found = records(&left).await;
            assert_eq!(found, held, "full {full}, event {then}");
        }
    }
    assert!(in_reserved_space > 0, "the reserve was never used");
}
