//! Records that are too old to be sent.

#![expect(
    clippy::disallowed_methods,
    reason = "records of other times are made here"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::*;
use flush_engine::{DiscardHandler, DiscardReason, EngineOptions};
use record_cache::{NewRecord, RecordStore};

const HOUR: Duration = Duration::from_secs(3600);

/// Options that let records live for an hour, and the records handed over.
fn expiring(mut options: EngineOptions) -> (EngineOptions, Discards) {
    let discarded = Discards::default();
    options.max_record_age = Some(HOUR);
    options.on_discard = discarded.handler();
    (options, discarded)
}

fn rig(service: Service) -> (Rig, Discards) {
    let (options, discarded) = expiring(options());
    (Rig::with(service, options), discarded)
}

fn aged(age: Duration, stream: &str, data: &str) -> NewRecord {
    let mut record = new(stream, data);
    record.recorded_at = SystemTime::now() - age;
    record
}

fn old(stream: &str, data: &str) -> NewRecord {
    aged(HOUR + SECOND, stream, data)
}

fn young(stream: &str, data: &str) -> NewRecord {
    aged(HOUR / 2, stream, data)
}

async fn record(rig: &Rig, records: impl IntoIterator<Item = NewRecord>) {
    let records = records.into_iter().collect();
    rig.record_all(records).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_given_up_instead_of_sent_wherever_it_lies() {
    let (rig, discarded) = rig(Service::accepting());
    record(&rig, [old("a", "0"), young("a", "1"), old("a", "2")]).await;
    record(&rig, [young("a", "3"), old("b", "4"), young("c", "5")]).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_discarded), (3, 3));
    assert_eq!(done.records_retried, 0);
    assert_eq!(rig.service.accepted("a"), ["1", "3"]);
    assert_eq!(rig.service.accepted("c"), ["5"]);
    assert_eq!(rig.service.call_count(), 2);
    assert_eq!(discarded.texts(), ["0", "2", "4"]);
    assert_eq!(rig.cached(), 0);
    for record in &discarded.all() {
        assert_eq!(record.reason, DiscardReason::Expired);
        assert_eq!((record.attempts, &record.code), (0, &None));
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_off_by_default() {
    let rig = Rig::new(Service::accepting());
    let years = aged(10_000 * HOUR, "a", "x");
    record(&rig, [years]).await;
    assert_eq!(rig.flush().await.records_flushed, 1);
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_too_old_as_a_whole_do_not_hold_up_those_behind() {
    let (rig, discarded) = rig(Service::accepting().limited(3, 1000));
    record(&rig, numbered(10).iter().map(|data| old("a", data))).await;
    record(&rig, [young("a", "young")]).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_discarded), (1, 10));
    assert_eq!(rig.service.accepted("a"), ["young"]);
    assert_eq!(discarded.texts(), numbered(10));
}

#[tokio::test(start_paused = true)]
async fn giving_up_what_is_too_old_is_progress_of_a_drain() {
    let (rig, _) = rig(Service::accepting().limited(2, 1000));
    let records = numbered(9);
    record(&rig, records[..4].iter().map(|data| old("a", data))).await;
    record(&rig, records[4..].iter().map(|data| young("a", data))).await;
    let done = rig.drain(SECOND).await;
    assert_eq!((done.records_flushed, done.records_discarded), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn the_timer_gives_up_too() {
    let (options, discarded) = expiring(every(SECOND));
    let rig = Rig::with(Service::accepting(), options);
    record(&rig, [old("a", "0")]).await;
    tokio::time::sleep(SECOND * 3 / 2).await;
    assert_eq!((rig.cached(), discarded.count()), (0, 1));
    assert_eq!(rig.service.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_handed_over_before_it_is_deleted_and_again_if_that_failed() {
    let store = Arc::new(ScriptedStore::obedient());
    let (mut options, _) = expiring(options());
    let held = Arc::new(Mutex::new(Vec::new()));
    options.on_discard = Some(DiscardHandler::new({
        let (store, held) = (Arc::clone(&store), Arc::clone(&held));
        move |_| held.lock().unwrap().push(store.stats().records())
    }));
    let service = Arc::new(Service::accepting());
    let rig = Rig::sharing(&store, &service, options);
    record(&rig, [old("a", "0")]).await;
    store.now_fails_at(Op::Settle);
    assert!(is_storage(&rig.engine.flush().await));
    store.now_obeys();
    assert_eq!(rig.flush().await.records_discarded, 1);
    assert_eq!(*held.lock().unwrap(), [1, 1]);
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_room_of_what_was_given_up_is_free_again() {
    let (mut options, _) = expiring(options());
    options.cache_max_bytes = bytes(100);
    let rig = Rig::with(Service::accepting(), options);
    record(&rig, [old("a", &"x".repeat(100))]).await;
    rig.flush().await;
    rig.assert_all_room_is_free(100).await;
}

#[tokio::test(start_paused = true)]
async fn records_from_before_a_restart_grow_old_too() {
    let store = Arc::new(ScriptedStore::obedient().surviving_close());
    let service = Arc::new(Service::accepting());
    let (options, discarded) = expiring(options());
    let first = Rig::sharing(&store, &service, options.clone());
    record(&first, [old("a", "0")]).await;
    first.engine.close().await.unwrap();
    assert!(discarded.texts().is_empty());
    let second = Rig::sharing(&store, &service, options);
    assert_eq!(second.flush().await.records_discarded, 1);
    assert_eq!(discarded.texts(), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn records_of_a_clock_that_was_set_back_are_sent_and_not_kept_for_ever() {
    let (options, discarded) = expiring(options());
    let service = Service::replying(|_| Reply::throttled());
    let rig = Rig::with(service, options);
    let mut ahead = new("a", "0");
    ahead.recorded_at = SystemTime::now() + 10_000 * HOUR;
    record(&rig, [ahead]).await;
    let pass = async || rig.flush().await;
    assert_eq!(pass().await.records_discarded, 0);
    assert_eq!(rig.service.call_count(), 1);
    // Tokio's clock advances while the system clock hardly does. The apparent step back is within
    // the tolerance.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(pass().await.records_discarded, 0);
    assert_eq!((rig.service.call_count(), rig.cached()), (2, 1));
    assert!(discarded.texts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closing_engine_gives_up_no_more_than_a_batch() {
    let (mut options, _) = expiring(options());
    options.max_concurrent_streams = count(1);
    let rig = Rig::with(Service::accepting().limited(2, 1000), options);
    let gate = Gate::closed();
    rig.store.now_waits_at(Op::Settle, &gate);
    record(&rig, numbered(6).iter().map(|data| old("a", data))).await;
    let pass = rig.flushing();
    // Appended, read, and being settled.
    until(|| rig.store.call_count() == 3).await;
    let close = rig.closing();
    until(|| rig.engine.is_closed()).await;
    gate.open();
    assert_eq!(pass.await.unwrap().unwrap().records_discarded, 2);
    close.await.unwrap().unwrap();
    assert_eq!(rig.cached(), 4);
}
