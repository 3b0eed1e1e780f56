//! Checks what must survive a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::support::{
    append, delete, ids, numbered, read_all, record, reopen, settle, start_and_drop, stream,
};
use crate::{NewRecord, Record, RecordStore, Settlement, StoreStats, StreamName};

pub(super) async fn records_survive_a_restart(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let names: Vec<_> = (0..4).map(|n| stream(&format!("kept-{n}"))).collect();
    let mut store = open(place).await;
    for round in 0..3_u32 {
        for (n, name) in names.iter().enumerate() {
            append(&*store, numbered(name, round * 20..round * 20 + 20)).await;
            let unkeyed = NewRecord::new(name.clone(), None, vec![1; 1 << (n * 6)]);
            append(&*store, vec![unkeyed]).await;
        }
        let before = everything(&*store, &names).await;
        let stats = store.stats();
        store = reopen(store, place, open).await;
        let again = store.stats();
        assert_eq!(again, stats, "the counters are those before the restart");
        let again = everything(&*store, &names).await;
        assert_eq!(again, before, "and so are the records");
    }
    store.close().await.expect("close succeeds");
}

pub(super) async fn moved_records_keep_their_attempts(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let name = stream("moved");
    let mut store = open(place).await;
    let mut moved = numbered(&name, 0..30);
    moved.push(record(&name, vec![7; 150_000]));
    for (counted, record) in (0..).zip(&mut moved) {
        record.attempts = counted % 4;
    }
    append(&*store, moved.clone()).await;
    for _ in 0..2 {
        let held = read_all(&*store, &name).await;
        let attempts: Vec<u32> = held.iter().map(|record| record.attempts).collect();
        let expected: Vec<u32> = moved.iter().map(|record| record.attempts).collect();
        assert_eq!(attempts, expected, "attempts counted elsewhere are kept");
        store = reopen(store, place, open).await;
    }
    let last = async || {
        read_all(&*store, &name)
            .await
            .pop()
            .expect("the large record")
    };
    let before = last().await;
    let tried = Settlement::new(name.clone()).count_attempt([before.id]);
    settle(&*store, tried).await;
    assert_eq!(last().await.attempts, before.attempts + 1, "and counted on");
    store.close().await.expect("close succeeds");
}

pub(super) async fn settlements_survive_a_restart(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let name = stream("settled");
    let mut store = open(place).await;
    append(&*store, numbered(&name, 0..50)).await;
    append(&*store, vec![record(&name, vec![8; 150_000])]).await;
    append(&*store, numbered(&name, 50..99)).await;
    for _ in 0..3 {
        let held = read_all(&*store, &name).await;
        let chosen = |rest: u64| {
            ids(&held)
                .into_iter()
                .filter(move |id| id.get() % 5 == rest)
        };
        let step = Settlement::new(name.clone())
            .delete(chosen(1))
            .count_attempt(chosen(2));
        settle(&*store, step).await;
        delete(&*store, &name, [held[0].id]).await;
        let before = read_all(&*store, &name).await;
        let stats = store.stats();
        store = reopen(store, place, open).await;
        let again = read_all(&*store, &name).await;
        assert_eq!(again, before, "deleted stays deleted, counted counted");
        assert_eq!(store.stats(), stats);
    }
    store.close().await.expect("close succeeds");
}

pub(super) async fn ids_grow_across_restarts(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let (name, other) = (stream("identified"), stream("other"));
    let mut seen = BTreeSet::new();
    let mut highest = None;
    for round in 0..6 {
        let store = open(place).await;
        append(&*store, numbered(&name, 0..5)).await;
        append(&*store, numbered(&other, 0..1)).await;
        let held = ids(&read_all(&*store, &name).await);
        let new: Vec<_> = held.iter().copied().filter(|id| seen.insert(*id)).collect();
        assert_eq!(new.len(), 5, "a restart gives no id out again");
        assert!(new.first().copied() > highest, "and goes on above");
        highest = new.last().copied();
        match round % 3 {
            0 => delete(&*store, &name, held).await,
            1 => store.clear().await.expect("clear succeeds"),
            _ => delete(&*store, &name, new).await,
        };
        store.close().await.expect("close succeeds");
    }
}

pub(super) async fn a_cleared_store_stays_empty(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let name = stream("cleared");
    let store = open(place).await;
    append(&*store, numbered(&name, 0..100)).await;
    store.clear().await.expect("clear succeeds");
    let store = reopen(store, place, open).await;
    assert_eq!(store.stats(), StoreStats::default(), "cleared is cleared");
    append(&*store, numbered(&name, 0..1)).await;
    assert_eq!(read_all(&*store, &name).await.len(), 1);
    store.close().await.expect("close succeeds");
}

pub(super) async fn a_closed_place_opens_again_at_once(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let name = stream("reopened");
    for round in 0..20 {
        let store = open(place).await;
        assert_eq!(store.stats().records(), round, "each round left one record");
        append(&*store, vec![record(&name, "round")]).await;
        store.close().await.expect("close succeeds");
    }
}

pub(super) async fn a_dropped_call_survives_whole_or_not_at_all(
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) {
    let (one, two) = (stream("one"), stream("two"));
    for _ in 0..10 {
        let store = open(place).await;
        let both = (0..40_u32).map(|n| record(if n % 2 == 0 { &one } else { &two }, vec![3; 700]));
        start_and_drop(store.append(both.collect()));
        let store = reopen(store, place, open).await;
        let (ones, twos) = (read_all(&*store, &one).await, read_all(&*store, &two).await);
        assert_eq!(ones.len(), twos.len(), "both streams or neither");
        assert!([0, 20].contains(&ones.len()), "all or none");

        let step = Settlement::new(one.clone())
            .delete(ids(&ones).into_iter().step_by(2))
            .count_attempt(ids(&ones).into_iter().skip(1).step_by(2));
        start_and_drop(store.settle(step));
        let store = reopen(store, place, open).await;
        let after = read_all(&*store, &one).await;
        if after != ones {
            assert_eq!(after.len(), ones.len() / 2, "all deleted or none");
            let mut counted = ones.iter().skip(1).step_by(2).zip(&after);
            let all_counted = counted.all(|(before, after)| after.attempts == before.attempts + 1);
            assert!(all_counted, "and all counted");
        }
        store.clear().await.expect("clear succeeds");
        store.close().await.expect("close succeeds");
    }
}

async fn everything(store: &dyn RecordStore, names: &[StreamName]) -> Vec<Vec<Record>> {
    let mut all = Vec::new();
    for name in names {
        all.push(read_all(store, name).await);
    }
    all
}
