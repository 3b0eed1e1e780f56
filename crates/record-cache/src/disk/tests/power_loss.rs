//! Crashes after every operation of a run, and what must remain.

use super::history::{Crash, History, OTHER, Settled, open, some};
use super::sim::{Numbers, SimDisk};
use crate::{Durability, NewRecord, RecordStore, Settlement, StreamName};

/// Samples per moment. `JOURNAL_CRASH_SAMPLES` sets more.
fn samples() -> usize {
    let asked = std::env::var("JOURNAL_CRASH_SAMPLES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(2)
}

async fn every_crash_keeps_the_promise(seed: u64, durability: Durability, crash: Crash) -> usize {
    let mut numbers = Numbers::new(seed);
    let disk = SimDisk::default();
    let mut history = History::default();
    for _ in 0..3 {
        let store = open(&disk, durability).await.unwrap();
        history.work(&store, &disk, &mut numbers, 60).await;
        store.close().await.unwrap();
    }
    let mut crashes = 0;
    for at in 0..=disk.events() {
        for sample in 0..samples() {
            let (left, settled) = crash.at(at, &disk, &mut numbers);
            crashes += 1;
            let context = format!("seed {seed}, event {at}, sample {sample}");
            let store = open(&left, durability).await.expect(&context);
            history.check(&store, at, settled).await.expect(&context);
            let killed = left.as_it_is();
            let at_once = open(&killed, durability).await.expect(&context);
            assert_eq!(at_once.stats(), store.stats(), "{context}, killed at once");
            at_once.close().await.expect(&context);
            // The store continues, and its contents are still there when it is reopened.
            let other = StreamName::new(OTHER).unwrap();
            let record = NewRecord::new(other, None, "x");
            store.append(vec![record]).await.expect(&context);
            let stats = store.stats();
            let killed = left.as_it_is();
            let after = open(&killed, durability).await.expect(&context);
            assert_eq!(after.stats(), stats, "{context}, then killed");
            after.close().await.expect(&context);
            store.close().await.expect(&context);
            let again = open(&left, durability).await.expect(&context);
            assert_eq!(again.stats(), stats, "{context}");
            again.close().await.expect(&context);
        }
    }
    crashes
}

#[tokio::test]
async fn no_loss_of_power_loses_what_was_acknowledged() {
    for seed in 1..=4 {
        let durability = Durability::PowerLoss;
        let crashes = every_crash_keeps_the_promise(seed, durability, Crash::LossOfPower).await;
        assert!(
            crashes > 150 * samples(),
            "only {crashes} crashes were tried"
        );
    }
}

#[tokio::test]
async fn a_second_loss_of_power_takes_nothing_that_the_first_one_left() {
    let durability = Durability::PowerLoss;
    for seed in 21..=24 {
        let mut numbers = Numbers::new(seed);
        let disk = SimDisk::default();
        let mut history = History::default();
        let store = open(&disk, durability).await.unwrap();
        history.work(&store, &disk, &mut numbers, 90).await;
        store.close().await.unwrap();
        for at in 0..=disk.events() {
            let left = disk.after_a_loss_of_power(at, &mut numbers);
            let store = open(&left, durability).await.unwrap();
            let (opened, stats) = (left.events(), store.stats());
            drop(store);
            for then in 0..=opened {
                let context = format!("seed {seed}, event {at}, then event {then}");
                let left = left.after_a_loss_of_power(then, &mut numbers);
                // The third open finds what the second one wrote.
                for opening in 2..=3 {
                    let store = open(&left, durability).await.expect(&context);
                    let checked = history.check(&store, at, Settled::Doubtful).await;
                    checked.expect(&context);
                    if then == opened {
                        assert_eq!(store.stats(), stats, "{context}, opening {opening}");
                    }
                    store.close().await.expect(&context);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_closed_survives_a_loss_of_power() {
    for seed in 41..=46 {
        let mut numbers = Numbers::new(seed);
        let disk = SimDisk::default();
        let durability = Durability::ProcessCrash;
        let store = open(&disk, durability).await.unwrap();
        let mut history = History::default();
        history.work(&store, &disk, &mut numbers, 120).await;
        store.close().await.unwrap();
        for sample in 0..20 {
            let context = format!("seed {seed}, sample {sample}");
            let left = disk.after_a_loss_of_power(disk.events(), &mut numbers);
            let store = open(&left, durability).await.expect(&context);
            let checked = history.check(&store, disk.events(), Settled::Kept).await;
            checked.expect(&context);
            store.close().await.expect(&context);
        }
    }
}

#[tokio::test]
async fn an_outline_speaks_of_nothing_that_a_loss_of_power_can_take() {
    let mut numbers = Numbers::new(71);
    let durability = Durability::PowerLoss;
    let name = StreamName::new(OTHER).unwrap();
    let disk = SimDisk::default();
    let store = open(&disk, durability).await.unwrap();
    let record = NewRecord::new(name.clone(), None, vec![1; 100]);
    store.append(vec![record; 24]).await.unwrap();
    let held = store.oldest(&name, None, some(24)).await.unwrap().records;
    for record in held.iter().skip(1) {
        let settled = Settlement::new(name.clone()).delete([record.id]);
        store.settle(settled).await.unwrap();
    }
    let before = disk.events();
    store.close().await.unwrap();
    for (at, sample) in (before..=disk.events()).flat_map(|at| (0..40).map(move |n| (at, n))) {
        let context = format!("event {at}, sample {sample}");
        let left = disk.after_a_loss_of_power(at, &mut numbers);
        let store = open(&left, durability).await.unwrap();
        let stats = store.stats();
        // The process ends immediately, so the next open finds no outline.
        let killed = left.as_it_is();
        let again = open(&killed, durability).await.unwrap();
        assert_eq!(again.stats(), stats, "{context}");
        again.close().await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_settled_before_a_sync_stays_settled() {
    let mut numbers = Numbers::new(61);
    let disk = SimDisk::default();
    let durability = Durability::PowerLoss;
    let store = open(&disk, durability).await.unwrap();
    let name = StreamName::new(OTHER).unwrap();
    let record = || vec![NewRecord::new(name.clone(), None, vec![1; 700])];
    for round in 0..40 {
        store.append(record()).await.unwrap();
        let held = store.oldest(&name, None, some(9)).await.unwrap().records;
        let settled = Settlement::new(name.clone()).delete(held.iter().map(|record| record.id));
        store.settle(settled).await.unwrap();
        store.append(record()).await.unwrap();
        let now = disk.events();
        for _ in 0..4 {
            let left = disk.after_a_loss_of_power(now, &mut numbers);
            let store = open(&left, durability).await.unwrap();
            assert_eq!(store.stats().records(), 1, "round {round}");
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_cleared_stays_gone_after_a_loss_of_power() {
    for (seed, durability) in [
        (51, Durability::PowerLoss),
        (52, Durability::ProcessCrash),
        (53, Durability::ProcessCrash),
    ] {
        let mut numbers = Numbers::new(seed);
        let disk = SimDisk::default();
        let store = open(&disk, durability).await.unwrap();
        let mut history = History::default();
        history.work(&store, &disk, &mut numbers, 40).await;
        store.clear().await.unwrap();
        let cleared = disk.events();
        for sample in 0..20 {
            let left = disk.after_a_loss_of_power(cleared, &mut numbers);
            let store = open(&left, durability).await.unwrap();
            let records = store.stats().records();
            assert_eq!(records, 0, "seed {seed}, sample {sample}");
            store.close().await.unwrap();
        }
    }
}

/// Writes while these operations fail, then loses power while the next segment is written. Of that,
/// only the end may survive, which does not say where its predecessor ends.
async fn what_failed_is_no_damage(before: usize, failing: &[usize], after: usize) {
    let mut numbers = Numbers::new(81);
    let durability = Durability::PowerLoss;
    let name = StreamName::new(OTHER).unwrap();
    let records = |n| vec![NewRecord::new(name.clone(), None, vec![1; 100]); n];
    let disk = SimDisk::default();
    let store = open(&disk, durability).await.unwrap();
    store.append(records(1)).await.unwrap();
    store.append(records(before)).await.unwrap();
    for failing in failing {
        disk.fail_after(*failing, 1);
    }
    let refused = store.append(records(12)).await;
    assert!(refused.is_err());
    let start = disk.events();
    store.append(records(after)).await.unwrap();
    for (at, sample) in (start..=disk.events()).flat_map(|at| (0..150).map(move |n| (at, n))) {
        let left = disk.after_a_loss_of_power(at, &mut numbers);
        let store = open(&left, durability).await.unwrap();
        let stats = store.stats();
        assert_eq!(stats.damaged_records, 0, "event {at}, sample {sample}");
        let possible = [1 + before, 1 + before + after];
        let records = stats.records();
        let whole = possible.contains(&records);
        assert!(whole, "event {at}, sample {sample}: {records}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_sync_is_no_damage_after_a_loss_of_power() {
    what_failed_is_no_damage(1, &[1], 12).await;
}

#[tokio::test]
async fn a_failed_write_is_no_damage_after_a_loss_of_power() {
    // The last append goes to another segment, so nothing syncs the truncation.
    what_failed_is_no_damage(20, &[0], 40).await;
}

#[tokio::test]
async fn a_segment_that_could_not_be_synced_is_no_damage_after_a_loss_of_power() {
    // The refused append begins a segment: it is named, written and synced.
    what_failed_is_no_damage(44, &[2], 12).await;
}

#[tokio::test]
async fn no_kill_loses_what_was_acknowledged() {
    for (seed, durability) in [
        (11, Durability::PowerLoss),
        (12, Durability::ProcessCrash),
        (13, Durability::ProcessCrash),
    ] {
        let crashes = every_crash_keeps_the_promise(seed, durability, Crash::Kill).await;
        assert!(
            crashes > 75 * samples(),
            "only {crashes} crashes were tried"
        );
    }
}
