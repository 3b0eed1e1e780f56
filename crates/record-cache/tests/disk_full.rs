//! Full disks and read-only disks.
//!
//! Mounts small in-memory file systems, on Linux and on Windows under Wine. This needs root and the
//! feature `mount-tests`, without which the tests are not built.
//!
//! `FULL_DISK_ROUNDS` and `FULL_DISK_ACTIONS` lengthen the run.

#![cfg(any(target_os = "linux", windows))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use record_cache::{Durability, RecordStore, Settlement, StoreError};
use support::mounted::{Mounted, fill};
use support::process::{self, is_child};
use support::subject::for_each_store;
use support::{
    Numbers, Store, Subject, append, assert_holds, disk_usage, limits, number_of, numbers,
    read_all, record, settled_down, stream, times,
};

for_each_store!(
    a_full_disk_refuses_and_recovers_with_syncs,
    a_full_disk_refuses_and_recovers_without_syncs,
    a_disk_that_the_cache_itself_filled_can_be_drained,
    nothing_is_lost_on_a_disk_that_is_full_at_times_with_syncs,
    nothing_is_lost_on_a_disk_that_is_full_at_times_without_syncs,
    a_cache_that_filled_its_disk_opens_delivers_and_gives_room_back,
    a_cache_that_filled_its_disk_is_cleared,
    a_disk_that_turns_read_only_loses_nothing,
);

/// Longest refusal allowed, even on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// Disk sizes in MB, with the `expected_bytes` of their caches in MiB.
const DISKS: [(u64, u64); 7] = [
    (8, 5),
    (10, 64),
    (13, 5),
    (16, 16),
    (24, 32),
    (40, 64),
    (40, 5),
];

async fn a_full_disk_refuses_and_recovers(subject: Subject, durability: Durability) {
    let disk = Mounted::of_size("16m");
    let other_file = disk.path().join("other");
    fs::write(&other_file, vec![1; 5 << 20]).unwrap();
    let path = disk.path().join("cache");
    let store = subject.open_with(&path, durability).await;
    let name = stream("full");
    let mut accepted = fill(&*store, 0).await;
    assert!(accepted.len() > 1000, "{}", accepted.len());
    for _ in 0..5 {
        let refused = store.append(vec![record(&name, 9, 100_000)]);
        let refused = tokio::time::timeout(AT_ONCE, refused).await.unwrap();
        assert_unavailable(&refused.expect_err("it is refused"));
    }
    let held = numbers(&read_all(&*store, &name).await);
    assert_eq!(held, accepted, "all that was accepted");

    // Room again: the same store works.
    fs::remove_file(&other_file).unwrap();
    accepted.extend(fill(&*store, 1_000_000).await);
    assert!(accepted.last() > Some(&1_000_000), "it takes records again");
    assert_eq!(numbers(&read_all(&*store, &name).await), accepted);
    store.close().await.unwrap();

    // The store opens with no byte free, and accepts records once there is room.
    disk.fill_but_for(0);
    let store = subject.open_with(&path, durability).await;
    assert_eq!(numbers(&read_all(&*store, &name).await), accepted);
    disk.free();
    disk.remount("size=32m");
    accepted.extend(fill(&*store, 2_000_000).await);
    assert!(accepted.last() > Some(&2_000_000), "it takes records again");
    store.close().await.unwrap();
    let store = subject.open_with(&path, durability).await;
    assert_eq!(numbers(&read_all(&*store, &name).await), accepted);
    assert_eq!(store.stats().damaged_records, 0);
    store.close().await.unwrap();
}

async fn a_full_disk_refuses_and_recovers_with_syncs(subject: Subject) {
    a_full_disk_refuses_and_recovers(subject, Durability::PowerLoss).await;
}

async fn a_full_disk_refuses_and_recovers_without_syncs(subject: Subject) {
    a_full_disk_refuses_and_recovers(subject, Durability::ProcessCrash).await;
}

/// Fills the disk to the last byte.
fn take_the_rest(disk: &Mounted) {
    let filler = disk.path().join("filler");
    let file = fs::File::options().append(true).create(true).open(filler);
    let mut file = file.unwrap();
    for bytes in [4096, 512, 1] {
        while std::io::Write::write(&mut file, &vec![1; bytes]).is_ok_and(|written| written > 0) {}
    }
}

/// Reads and settles everything in order, starting with no byte free.
async fn deliver(store: &dyn RecordStore, disk: &Mounted, mut accepted: Vec<u64>, context: &str) {
    let name = stream("full");
    take_the_rest(disk);
    for round in 0.. {
        let held = store.oldest(&name, None, limits(300)).await.unwrap();
        let (first, rest) = accepted.split_at(held.records.len());
        assert_eq!(numbers(&held), first, "{context}: in order");
        if held.records.is_empty() {
            assert_eq!(rest, [0_u64; 0], "{context}: all of it");
            break;
        }
        let ids = held.records.iter().map(|record| record.id);
        let settlement = Settlement::new(name.clone()).delete(ids);
        let settled = store.settle(settlement).await;
        settled.unwrap_or_else(|error| panic!("{context}, round {round}: {error}"));
        accepted = rest.to_vec();
    }
}

async fn a_disk_that_the_cache_itself_filled_can_be_drained(subject: Subject) {
    for reopened in [false, true] {
        let disk = Mounted::of_size("13m");
        let path = disk.path().join("cache");
        let mut store = subject.open(&path).await;
        let accepted = fill(&*store, 0).await;
        // The disk is full, and another file takes what the refused call gave back.
        take_the_rest(&disk);
        if reopened {
            store.close().await.unwrap();
            take_the_rest(&disk);
            store = subject.open(&path).await;
        }
        deliver(&*store, &disk, accepted, &format!("reopened {reopened}")).await;
        settled_down(&*store).await;
        disk.free();
        assert!(fill(&*store, 0).await.len() > 1000, "there is room again");
        store.close().await.unwrap();
    }
}

/// In a child process: fills the disk, reports what was accepted and waits for the kill.
async fn fill_and_be_killed(subject: Subject, path: &Path, expected: u64) {
    let store = open_expecting(subject, path, expected).await;
    let from = store.stats().records() as u64;
    let last = from + fill(&*store, from).await.len() as u64;
    process::report("accepted", last);
    std::future::pending::<()>().await;
}

async fn open_expecting(subject: Subject, path: &Path, expected: u64) -> Store {
    let opening = subject.try_open(path, Durability::PowerLoss, Some(expected));
    opening
        .await
        .unwrap_or_else(|error| panic!("{} with {expected}: {error}", path.display()))
}

/// Fills the disk in a child process and kills it. Returns the accepted records.
fn killed_when_full(test: &str, subject: Subject, path: &Path, expected: u64) -> Vec<u64> {
    let mut process = process::start(&subject.test(test), path, &expected.to_string());
    let said = process.wait_for_report("accepted");
    process.kill();
    (0..said.unwrap()).collect()
}

async fn a_cache_that_filled_its_disk_opens_delivers_and_gives_room_back(subject: Subject) {
    const TEST: &str = "a_cache_that_filled_its_disk_opens_delivers_and_gives_room_back";
    if let Some((path, expected)) = is_child() {
        return fill_and_be_killed(subject, &path, expected.parse().unwrap()).await;
    }
    for (size, cap) in DISKS {
        let disk = Mounted::of_size(&format!("{size}m"));
        let path = disk.path().join("cache");
        let expected = cap * MIB;
        for round in 0..times("FULL_DISK_ROUNDS", 4) {
            let killed = round % 2 == 0;
            let context = format!("{size} MB, {cap} MiB, round {round}");
            let accepted = if killed {
                killed_when_full(TEST, subject, &path, expected)
            } else {
                let store = open_expecting(subject, &path, expected).await;
                let accepted = fill(&*store, 0).await;
                take_the_rest(&disk);
                store.close().await.unwrap();
                accepted
            };
            assert!(accepted.len() > 500, "{context}: {}", accepted.len());
            take_the_rest(&disk);
            // Opened with no byte free, twice, with a close in between.
            let store = open_expecting(subject, &path, expected).await;
            assert_eq!(store.stats().records(), accepted.len(), "{context}");
            assert_eq!(store.stats().damaged_records, 0, "{context}");
            store.close().await.unwrap();
            take_the_rest(&disk);
            let store = open_expecting(subject, &path, expected).await;
            deliver(&*store, &disk, accepted, &context).await;
            settled_down(&*store).await;
            store.close().await.unwrap();
            // The cache is empty, and other files take the rest of the disk.
            take_the_rest(&disk);
            let store = open_expecting(subject, &path, expected).await;
            assert_eq!(store.stats().records(), 0, "{context}");
            let used = disk_usage(&path);
            let segment = (expected / 4).clamp(4 * MIB, 64 * MIB);
            assert!(used <= segment + 128 * 1024, "{context}: {used} when empty");
            store.close().await.unwrap();
            disk.free();
        }
    }
}

async fn a_cache_that_filled_its_disk_is_cleared(subject: Subject) {
    const TEST: &str = "a_cache_that_filled_its_disk_is_cleared";
    if let Some((path, expected)) = is_child() {
        return fill_and_be_killed(subject, &path, expected.parse().unwrap()).await;
    }
    for (size, cap) in DISKS {
        let disk = Mounted::of_size(&format!("{size}m"));
        let path = disk.path().join("cache");
        let expected = cap * MIB;
        for killed in [true, false] {
            let context = format!("{size} MB, {cap} MiB, killed {killed}");
            let accepted = killed_when_full(TEST, subject, &path, expected);
            take_the_rest(&disk);
            let mut store = open_expecting(subject, &path, expected).await;
            if !killed {
                store.close().await.unwrap();
                take_the_rest(&disk);
                store = open_expecting(subject, &path, expected).await;
            }
            take_the_rest(&disk);
            let cleared = store.clear().await;
            let cleared = cleared.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(cleared.records, accepted.len(), "{context}");
            settled_down(&*store).await;
            store.close().await.unwrap();
            take_the_rest(&disk);
            let store = open_expecting(subject, &path, expected).await;
            assert_eq!(store.stats().records(), 0, "{context}");
            store.close().await.unwrap();
            disk.free();
        }
    }
}

/// Fills and frees the disk at random moments. Acknowledged records stay, in order.
async fn comes_and_goes(subject: Subject, durability: Durability, seed: u64) {
    let disk = Mounted::of_size("24m");
    let path = disk.path().join("cache");
    let mut random = Numbers::new(seed);
    let name = stream("full");
    let mut store = subject.open_with(&path, durability).await;
    let mut held: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut filled, mut refusals, mut openings) = (false, 0, 0);
    for n in 0..times("FULL_DISK_ACTIONS", 400) as u64 {
        match random.below(20) {
            0 | 1 if filled => {
                disk.free();
                filled = false;
            }
            0 => {
                disk.fill_but_for([0, 100_000, 700_000, 2_500_000][random.below(4)]);
                filled = true;
            }
            1 | 19 => {
                store.close().await.unwrap();
                store = subject.open_with(&path, durability).await;
                openings += usize::from(filled);
            }
            2 => match store.clear().await {
                Ok(cleared) => {
                    assert_eq!(cleared.records, held.len());
                    held.clear();
                }
                Err(error) => refused(&error, filled, &mut refusals),
            },
            3..=9 => match store.oldest(&name, None, limits(60)).await {
                Ok(batch) => {
                    let ids = || batch.records.iter().map(|record| record.id);
                    let settlement = Settlement::new(name.clone())
                        .delete(ids().skip(3))
                        .count_attempt(ids().take(3));
                    match store.settle(settlement).await {
                        Ok(removed) => {
                            for record in batch.records.iter().take(3) {
                                *held.get_mut(&number_of(record)).unwrap() += 1;
                            }
                            for record in batch.records.iter().skip(3) {
                                held.remove(&number_of(record)).unwrap();
                            }
                            assert_eq!(removed.records, batch.records.len().saturating_sub(3));
                        }
                        Err(error) => refused(&error, filled, &mut refusals),
                    }
                }
                Err(error) => refused(&error, filled, &mut refusals),
            },
            _ => {
                let count = 1 + random.below(30) as u64;
                let ids = n * 100..n * 100 + count;
                let length = [50, 900, 30_000][random.below(3)];
                let new = ids.clone().map(|n| record(&name, n, length)).collect();
                match store.append(new).await {
                    Ok(()) => held.extend(ids.map(|n| (n, 0))),
                    Err(error) => refused(&error, true, &mut refusals),
                }
            }
        }
        assert_eq!(store.stats().records(), held.len(), "after {n}");
        if let Ok(batch) = store.oldest(&name, None, limits(usize::MAX)).await {
            let found = batch.records.iter();
            let found: Vec<_> = found.map(|r| (number_of(r), r.attempts)).collect();
            assert_eq!(found, held.clone().into_iter().collect::<Vec<_>>(), "{n}");
        } else {
            assert!(filled, "{n}: no read although there is room");
        }
    }
    assert!(refusals > 3, "it was never full: {refusals}");
    assert!(openings > 5, "opened {openings} times while it was full");
    assert_eq!(store.stats().damaged_records, 0);
}

#[track_caller]
fn assert_unavailable(error: &StoreError) {
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[track_caller]
fn refused(error: &StoreError, filled: bool, refusals: &mut usize) {
    assert_unavailable(error);
    assert!(filled, "refused although there is room: {error}");
    *refusals += 1;
}

async fn nothing_is_lost_on_a_disk_that_is_full_at_times_with_syncs(subject: Subject) {
    comes_and_goes(subject, Durability::PowerLoss, 1).await;
}

async fn nothing_is_lost_on_a_disk_that_is_full_at_times_without_syncs(subject: Subject) {
    comes_and_goes(subject, Durability::ProcessCrash, 2).await;
}

async fn a_disk_that_turns_read_only_loses_nothing(subject: Subject) {
    let disk = Mounted::of_size("20m");
    let path = disk.path().join("cache");
    let name = stream("full");
    let store = subject.open(&path).await;
    append(&*store, &name, 0..100, 100).await;
    store.close().await.unwrap();
    drop(store);
    disk.remount("ro");
    let refused = subject.try_open(&path, Durability::PowerLoss, None).await;
    assert_unavailable(&refused.expect_err("it is refused"));
    disk.remount("rw");
    let store = subject.open(&path).await;
    assert_holds(&*store, &name, 0..100).await;
    store.close().await.unwrap();
}
