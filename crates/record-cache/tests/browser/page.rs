//! The functions that `cargo xtask ports browser` calls from outside the page, to test tabs,
//! reloads, kills and quotas.
//!
//! A script calls these functions. Records are numbered, so a missing, duplicate or reordered one
//! shows.

#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#![expect(missing_docs, reason = "for tests alone")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::num::{NonZeroU64, NonZeroUsize};
use std::rc::Rc;

use js_sys::{Object, Promise, Reflect};
use record_cache::{
    Durability, IndexedDbStore, NewRecord, ReadLimits, Record, RecordStore, Settlement, StoreError,
    StreamName,
};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

thread_local! {
    static STORE: RefCell<Option<Rc<IndexedDbStore>>> = const { RefCell::new(None) };
}

/// Opens a store and returns its slot.
#[wasm_bindgen]
pub async fn open(name: String, slots: bool, is_strict: bool) -> Result<u32, String> {
    let builder = IndexedDbStore::builder().name(name);
    let builder = builder.durability(match is_strict {
        true => Durability::PowerLoss,
        false => Durability::ProcessCrash,
    });
    let builder = if slots { builder.slots() } else { builder };
    let store = builder.open().await.map_err(said)?;
    let slot = store.slot();
    STORE.set(Some(Rc::new(store)));
    Ok(slot)
}

/// Appends `count` records, numbered from `first`, in one call.
#[wasm_bindgen]
pub async fn append(first: u32, count: u32, bytes: usize) -> Result<(), String> {
    let records = (first..first + count).map(|number| numbered(number, bytes));
    store()?.append(records.collect()).await.map_err(said)
}

/// Appends records one by one, endlessly, numbered from `first`. The page's `stored` holds the next
/// number.
#[wasm_bindgen]
pub fn append_on(first: u32, bytes: usize) -> Result<(), String> {
    let store = store()?;
    wasm_bindgen_futures::spawn_local(async move {
        for number in first.. {
            store.append(vec![numbered(number, bytes)]).await.unwrap();
            let stored = JsValue::from(number + 1);
            Reflect::set(&js_sys::global(), &"stored".into(), &stored).unwrap();
        }
    });
    Ok(())
}

/// The numbers of all records, in order.
#[wasm_bindgen]
pub async fn numbers() -> Result<Vec<u32>, String> {
    let (store, mut after, mut numbers) = (store()?, None, Vec::new());
    loop {
        let batch = store.oldest(&stream(), after, limits()).await;
        let batch = batch.map_err(said)?;
        let Some(last) = batch.records.last() else {
            return Ok(numbers);
        };
        after = Some(last.id);
        numbers.extend(batch.records.iter().map(number_of));
    }
}

/// The attempt counts of the oldest records.
#[wasm_bindgen]
pub async fn attempts() -> Result<Vec<u32>, String> {
    let batch = store()?.oldest(&stream(), None, limits()).await;
    let records = batch.map_err(said)?.records;
    Ok(records.iter().map(|record| record.attempts).collect())
}

/// Records, bytes and damaged records, from the counters.
#[wasm_bindgen]
pub fn stats() -> Result<Vec<u32>, String> {
    let stats = store()?.stats();
    let count = |count: u64| u32::try_from(count).unwrap();
    Ok(vec![
        count(stats.records() as u64),
        count(stats.bytes()),
        count(stats.damaged_records),
    ])
}

/// Deletes the oldest records and counts an attempt on the next ones, in one step.
#[wasm_bindgen]
pub async fn settle(delete: usize, count: usize) -> Result<u32, String> {
    let store = store()?;
    let batch = store.oldest(&stream(), None, limits()).await;
    let records = batch.map_err(said)?.records;
    let ids = || records.iter().map(|record| record.id);
    let settlement = Settlement::new(stream())
        .delete(ids().take(delete))
        .count_attempt(ids().skip(delete).take(count));
    let settled = store.settle(settlement).await.map_err(said)?;
    Ok(u32::try_from(settled.records).unwrap())
}

#[wasm_bindgen]
pub async fn clear() -> Result<u32, String> {
    let cleared = store()?.clear().await.map_err(said)?;
    Ok(u32::try_from(cleared.records).unwrap())
}

#[wasm_bindgen]
pub async fn close() -> Result<(), String> {
    let store = store()?;
    store.close().await.map_err(said)
}

/// Times storing records and reading and deleting them all, in seconds.
#[wasm_bindgen]
pub async fn measure(
    records: u32,
    bytes: usize,
    tasks: usize,
    batch: usize,
) -> Result<Vec<f64>, String> {
    let store = store()?;
    let start = now();
    let mut numbers = 0..records;
    let mut running = Vec::new();
    let next = Rc::new(RefCell::new(move || numbers.next()));
    for _ in 0..tasks {
        let (store, next) = (Rc::clone(&store), Rc::clone(&next));
        running.push(wasm_bindgen_futures::future_to_promise(async move {
            loop {
                let number = next.borrow_mut()();
                let Some(number) = number else {
                    return Ok(JsValue::UNDEFINED);
                };
                store.append(vec![numbered(number, bytes)]).await.unwrap();
            }
        }));
    }
    let running: js_sys::Array = running.into_iter().collect();
    let done = JsFuture::from(Promise::all(&running)).await;
    done.map_err(|error| format!("{error:?}"))?;
    let stored = now();
    let limits = ReadLimits::new(NonZeroUsize::new(batch).unwrap(), NonZeroU64::MAX);
    let mut seen = 0;
    while seen < records {
        let read = store.oldest(&stream(), None, limits).await;
        let read = read.map_err(said)?.records;
        for record in &read {
            assert!(number_of(record) < records);
            seen += 1;
        }
        let done = Settlement::new(stream()).delete(read.iter().map(|record| record.id));
        store.settle(done).await.map_err(said)?;
    }
    let drained = now();
    assert_eq!(store.stats().records(), 0);
    Ok(vec![(stored - start) / 1e3, (drained - stored) / 1e3])
}

fn store() -> Result<Rc<IndexedDbStore>, String> {
    STORE.with_borrow(|store| store.clone().ok_or_else(|| "not open".to_owned()))
}

fn stream() -> StreamName {
    StreamName::new("numbered").unwrap()
}

fn numbered(number: u32, bytes: usize) -> NewRecord {
    let mut data = vec![u8::try_from(number % 251).unwrap(); bytes.max(4)];
    data[..4].copy_from_slice(&number.to_le_bytes());
    NewRecord::new(stream(), Some(format!("key-{number}")), data)
}

/// Returns the record's number. Panics if the record differs from what was appended.
fn number_of(record: &Record) -> u32 {
    let number = u32::from_le_bytes(*record.data.first_chunk().unwrap());
    let expected = numbered(number, record.data.len());
    assert!(record.data == expected.data && record.key == expected.key);
    number
}

fn limits() -> ReadLimits {
    ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::new(4 << 20).unwrap())
}

/// Milliseconds on the page's clock.
fn now() -> f64 {
    let performance: Object = Reflect::get(&js_sys::global(), &"performance".into())
        .unwrap()
        .unchecked_into();
    let now: js_sys::Function = Reflect::get(&performance, &"now".into())
        .unwrap()
        .unchecked_into();
    now.call0(&performance).unwrap().as_f64().unwrap()
}

fn said(error: StoreError) -> String {
    let kind = match error {
        StoreError::InUse { .. } => "in use",
        StoreError::Incompatible { .. } => "incompatible",
        StoreError::Refused { .. } => "refused",
        StoreError::Closed => "closed",
        StoreError::Unavailable { .. } => "unavailable",
        _ => "unknown",
    };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{kind}: {error}: {}", source.unwrap_or_default())
}
