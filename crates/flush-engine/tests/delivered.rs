//! What `on_delivered` receives.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::sync::{Arc, Mutex, OnceLock};

use common::*;
use flush_engine::{DeliveredHandler, DeliveredRecord, EngineError, FlushEngine, Receipt, Verdict};
use record_cache::{NewRecord, RecordStore};

#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<DeliveredRecord>>>);

impl Told {
    fn handler(&self) -> Option<DeliveredHandler> {
        let Self(all) = self.clone();
        Some(DeliveredHandler::new(move |record| {
            all.lock().unwrap().push(record);
        }))
    }

    /// The keys of all delivered records. Each key is unique.
    fn keys(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let keys = all.iter().map(|record| record.partition_key.clone());
        keys.map(Option::unwrap).collect()
    }
}

fn keyed(key: &str) -> NewRecord {
    NewRecord::new(stream("a"), Some(key.to_owned()), key.to_owned())
}

fn told(service: Service) -> (Rig, Told) {
    let told = Told::default();
    let rig = Rig::tuned(service, |options| options.on_delivered = told.handler());
    (rig, told)
}

#[tokio::test(start_paused = true)]
async fn each_record_that_was_accepted_is_told_of_with_its_receipt() {
    let receipt = |data: &str| Receipt::new(format!("id of {data}"), Some("shard".to_owned()));
    let (rig, told) = told(Service::replying(move |call| {
        let verdicts = call.data.iter().map(|data| match data.as_str() {
            "bad" => Verdict::Failed {
                code: "Bad".to_owned(),
            },
            data => Verdict::Accepted(Some(receipt(data))),
        });
        Reply::Verdicts(verdicts.collect())
    }));
    rig.record_all(["1", "bad", "2"].map(keyed).to_vec()).await;
    rig.flush().await;
    assert_eq!(told.keys(), ["1", "2"]);
    let all = told.0.lock().unwrap().clone();
    assert!(all.iter().all(|record| record.stream_name == "a"));
    let receipts: Vec<_> = all.iter().map(|record| record.receipt.clone()).collect();
    assert_eq!(receipts, ["1", "2"].map(|data| Some(receipt(data))));
    let shown = format!("{:?}", all[0]);
    let is_public = shown.contains("id of 1") && !shown.contains("partition_key");
    assert!(is_public, "{shown}");
    rig.service.now_replies(|_| Reply::Accept);
    rig.flush().await;
    assert_eq!(told.keys(), ["1", "2", "bad"], "once each");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_tells_nothing() {
    let (rig, told) = told(Service::replying(|_| Reply::Hang));
    rig.record_all(vec![keyed("1")]).await;
    assert!(is_unknown(&rig.engine.flush().await));
    assert_eq!(told.keys(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_told_of_before_it_is_deleted_and_again_if_that_failed() {
    let (rig, told) = told(Service::accepting());
    rig.record_all(vec![keyed("1")]).await;
    rig.store.now_fails_at(Op::Settle);
    assert!(is_storage(&rig.engine.flush().await));
    assert_eq!(told.keys(), ["1"]);
    rig.store.now_obeys();
    rig.flush().await;
    assert_eq!(told.keys(), ["1", "1"]);
    assert_eq!(rig.store.stats().records(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_cleared_while_it_is_accepted_is_told_of() {
    let (gate, service) = Service::gated();
    let (rig, told) = told(service);
    rig.record_all(vec![keyed("1")]).await;
    let flushing = rig.flushing();
    until(|| rig.service.call_count() == 1).await;
    assert_eq!(rig.clear().await, 1);
    gate.open();
    assert_eq!(flushing.await.unwrap().unwrap().records_flushed, 0);
    assert_eq!(told.keys(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_and_the_others_are_told_of() {
    let told = Told::default();
    let others = told.clone();
    let handler = DeliveredHandler::new(move |record| {
        if record.partition_key.as_deref() == Some("2") {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        others.0.lock().unwrap().push(record);
    });
    let rig = Rig::tuned(Service::accepting(), |options| {
        options.on_delivered = Some(handler);
    });
    rig.record_all(["1", "2", "3"].map(keyed).to_vec()).await;
    assert_eq!(rig.flush().await.records_flushed, 3);
    assert_eq!(told.keys(), ["1", "3"]);
    rig.engine.drain(SECOND).await.unwrap();
    rig.engine.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_for_the_handler_is_refused_and_names_it() {
    let engine: Arc<OnceLock<FlushEngine>> = Arc::default();
    let refusals: Arc<Mutex<Vec<EngineError>>> = Arc::default();
    let (called, heard) = (Arc::clone(&engine), Arc::clone(&refusals));
    let handler = DeliveredHandler::new(move |_| {
        let engine = called.get().unwrap();
        let mut heard = heard.lock().unwrap();
        heard.push(at_once(engine.drain(SECOND)).unwrap().unwrap_err());
        heard.push(at_once(engine.clear()).unwrap().unwrap_err());
        heard.push(at_once(engine.close()).unwrap().unwrap_err());
        let flushed = at_once(engine.flush()).unwrap();
        assert!(flushed.unwrap().flush_in_progress);
        let recorded = at_once(engine.record(vec![new("other", "")]));
        recorded.unwrap().unwrap();
    });
    let rig = Rig::tuned(Service::accepting(), |options| {
        options.on_delivered = Some(handler);
    });
    engine.set(rig.engine.clone()).unwrap();
    rig.record("a", "x").await;
    assert_eq!(rig.flush().await.records_flushed, 1);
    let refusals = std::mem::take(&mut *refusals.lock().unwrap());
    assert_eq!(refusals.len(), 3);
    for refusal in &refusals {
        assert!(matches!(refusal, EngineError::Validation(_)));
        assert!(refusal.to_string().starts_with("on_delivered"), "{refusal}");
    }
    assert_eq!(rig.cached_of("other").await, [""]);
}
