//! Crashes and faults while one group is synced and the next one is written.

use std::io::ErrorKind;
use std::sync::Arc;

use super::history::{Crash, History, OTHER, Settled, TestStore, in_memory, open, settings, some};
use super::sim::{Fault, Numbers, SimDisk};
use super::slow::{Gate, open_slow};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::{Durability, NewRecord, RecordStore, Settlement, StreamName};

const DURABILITY: Durability = Durability::PowerLoss;

async fn open_gated(disk: &SimDisk, gate: &Arc<Gate>) -> TestStore {
    let store = open_slow(disk, gate, settings(DURABILITY), in_memory).await;
    TestStore(store.unwrap())
}

/// One kill, and otherwise losses of power.
fn crash(sample: usize) -> Crash {
    match sample {
        0 => Crash::Kill,
        _ => Crash::LossOfPower,
    }
}

/// Which of the two groups survived a crash.
#[derive(Debug, Default)]
struct Left {
    only_first: usize,
    only_second: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_crash_while_groups_overlap_takes_what_was_acknowledged() {
    let mut left = Left::default();
    for seed in 91..=94 {
        let mut numbers = Numbers::new(seed);
        let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
        let store = open_gated(&disk, &gate).await;
        let mut history = History::default();
        let mut pairs = Vec::new();
        for _ in 0..25 {
            let from = disk.events();
            let pair = history.overlap(&store, &disk, &gate, &mut numbers).await;
            pairs.push((from..disk.events(), pair));
            history.work(&store, &disk, &mut numbers, 2).await;
        }
        assert!(gate.syncs_aside() > 10, "{} asides", gate.syncs_aside());
        let checked = history.check(&store, disk.events(), Settled::Kept).await;
        checked.unwrap();
        store.close().await.unwrap();
        for (at, sample) in (0..=disk.events()).flat_map(|at| (0..4).map(move |n| (at, n))) {
            let context = format!("seed {seed}, event {at}, sample {sample}");
            let (crashed, settled) = crash(sample).at(at, &disk, &mut numbers);
            let after = open(&crashed, DURABILITY).await.expect(&context);
            let checked = history.check(&after, at, settled).await;
            checked.expect(&context);
            if let Some((_, [first, second])) = pairs.iter().find(|(span, _)| span.contains(&at)) {
                let present = History::present(&after).await;
                let has = |group: &Vec<u64>| group.iter().any(|number| present.contains(number));
                left.only_first += usize::from(has(first) && !has(second));
                left.only_second += usize::from(has(second) && !has(first));
            }
            after.close().await.expect(&context);
            let again = open(&crashed, DURABILITY).await.expect(&context);
            history.check(&again, at, settled).await.expect(&context);
            again.close().await.expect(&context);
        }
    }
    assert!(left.only_first > 100 && left.only_second > 10, "{left:?}");
}

async fn a_fault_while_groups_overlap(seed: u64, fault: Option<Fault>) -> usize {
    let context = format!("seed {seed}, {fault:?}");
    let mut numbers = Numbers::new(seed);
    let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
    let store = open_gated(&disk, &gate).await;
    fault.into_iter().for_each(|fault| disk.fail(fault));
    let mut history = History::default();
    for _ in 0..8 {
        history.overlap(&store, &disk, &gate, &mut numbers).await;
    }
    while fault.is_some_and(|fault| disk.operations() < fault.to) {
        history.work(&store, &disk, &mut numbers, 1).await;
    }
    let record = NewRecord::new(StreamName::new(OTHER).unwrap(), None, "x");
    store.append(vec![record]).await.expect(&context);
    let now = disk.events();
    let checked = history.check(&store, now, Settled::Kept).await;
    checked.expect(&context);
    for sample in 0..3 {
        let (crashed, settled) = crash(sample).at(now, &disk, &mut numbers);
        let after = open(&crashed, DURABILITY).await.expect(&context);
        history.check(&after, now, settled).await.expect(&context);
        after.close().await.expect(&context);
    }
    store.close().await.expect(&context);
    disk.operations()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_may_fail_while_groups_overlap() {
    for seed in [95, 96] {
        let operations = a_fault_while_groups_overlap(seed, None).await;
        for (from, length) in (10..operations).flat_map(|at| [(at, 1), (at, 3)]) {
            let fault = Fault::new(from..from + length, ErrorKind::Other);
            a_fault_while_groups_overlap(seed, Some(fault)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_stays_until_the_settlements_that_empty_it_are_durable() {
    let mut numbers = Numbers::new(97);
    let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
    let store = open_gated(&disk, &gate).await;
    let name = StreamName::new(OTHER).unwrap();
    let record = |bytes: usize| vec![NewRecord::new(name.clone(), None, vec![1; bytes])];
    // Two records in the first segment, one in the next.
    for _ in 0..3 {
        store.append(record(3000)).await.unwrap();
    }
    let held = store.oldest(&name, None, some(3)).await.unwrap().records;
    let [one, two, three] = [0, 1, 2].map(|n| held[n].id);
    let first = segment_name(0);
    let is_there = || disk.names().unwrap().contains(&first);
    assert!(is_there());
    let asides = gate.syncs_aside();
    gate.hold("sync");
    let meanwhile = async {
        while gate.syncs_aside() == asides {
            tokio::task::yield_now().await;
        }
        let settled = Settlement::new(name.clone()).delete([one, two]);
        store.settle(settled).await.unwrap();
        // Only this write says that the first segment is no longer needed.
        let counted = Settlement::new(name.clone()).count_attempt([three]);
        store.settle(counted).await.unwrap();
        gate.release();
    };
    let (appended, ()) = tokio::join!(store.append(record(1500)), meanwhile);
    appended.unwrap();
    while is_there() {
        tokio::task::yield_now().await;
    }
    let now = disk.events();
    for sample in 0..100 {
        let left = disk.after_a_loss_of_power(now, &mut numbers);
        let after = open(&left, DURABILITY).await.unwrap();
        let damaged = after.stats().damaged_records;
        assert_eq!(damaged, 0, "sample {sample}");
        after.close().await.unwrap();
    }
    store.close().await.unwrap();
}
