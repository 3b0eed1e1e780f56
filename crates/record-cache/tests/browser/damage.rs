//! Changes made by others to the database of an open store.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use record_cache::{Amount, IndexedDbStore, RecordStore};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{append, numbers, raw, read, stream};

#[wasm_bindgen_test]
async fn a_damaged_record_is_dropped_and_reported_once() {
    let store = IndexedDbStore::open("damaged").await.unwrap();
    append(&store, 0..5).await;
    raw::done(raw::damage("damaged", 0)).await;
    raw::done(raw::damage("damaged", 3)).await;
    let batch = read(&store).await;
    assert_eq!(batch.damaged, Amount::new(2, 20));
    let left: Vec<u8> = batch.records.iter().map(|record| record.data[0]).collect();
    assert_eq!(left, [1, 2, 4]);
    assert_eq!(read(&store).await.damaged, Amount::default());
    let stats = store.stats();
    assert_eq!((stats.records(), stats.bytes()), (3, 30));
    assert_eq!(stats.damaged_records, 2);
    store.close().await.unwrap();
    let store = IndexedDbStore::open("damaged").await.unwrap();
    assert_eq!(numbers(&store).await, [1, 2, 4]);
}

#[wasm_bindgen_test]
async fn records_that_vanish_from_under_a_store_are_reported_and_ids_go_on() {
    let store = IndexedDbStore::open("dropped").await.unwrap();
    append(&store, 0..5).await;
    let last = read(&store).await.records[4].id;
    raw::done(raw::drop_database("dropped")).await;
    append(&store, 5..7).await;
    let batch = read(&store).await;
    assert_eq!(batch.damaged, Amount::new(5, 50));
    assert_eq!(numbers(&store).await, [5, 6]);
    assert!(batch.records[0].id > last);
    let stats = store.stats();
    assert_eq!(
        (stats.streams[&stream()].records, stats.damaged_records),
        (2, 5)
    );
    assert_eq!(read(&store).await.damaged, Amount::default());
}

#[wasm_bindgen_test]
async fn a_database_that_the_browser_lost_is_logged() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    IndexedDbStore::open("new").await.unwrap();
    assert_eq!(log.text(), "", "nothing was lost");
    raw::say_lost("checksum mismatch");
    let opened = IndexedDbStore::open("lost").await;
    raw::say_the_truth();
    opened.unwrap();
    let logged = log.text();
    assert!(logged.contains("deleted the site's databases"), "{logged}");
    assert!(logged.contains("checksum mismatch"), "{logged}");
}

/// Collects all fields of all events.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "record_cache"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
