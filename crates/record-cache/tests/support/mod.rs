//! Helpers shared by the store tests.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test target uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

pub(crate) mod files;
pub(crate) mod model;
#[cfg(all(any(target_os = "linux", windows), feature = "mount-tests"))]
pub(crate) mod mounted;
pub(crate) mod process;
pub(crate) mod sample;
pub(crate) mod subject;

use std::num::{NonZeroU64, NonZeroUsize};

use record_cache::{NewRecord, ReadBatch, ReadLimits, Record, RecordStore, Settlement, StreamName};

pub(crate) use self::files::*;
pub(crate) use self::sample::{End, Outcome, STREAMS, Sample, mixed_lengths, stream_of};
pub(crate) use self::subject::{Store, Subject};

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn limits(records: usize) -> ReadLimits {
    ReadLimits::new(NonZeroUsize::new(records).unwrap(), NonZeroU64::MAX)
}

/// A payload that identifies its record and shows damage.
pub(crate) fn payload(number: u64, length: usize) -> Vec<u8> {
    let filler = (0..length).map(|n| u8::try_from((n as u64 * 7 + number * 13) % 251).unwrap());
    let length = u64::try_from(length).unwrap();
    number
        .to_le_bytes()
        .into_iter()
        .chain(length.to_le_bytes())
        .chain(filler)
        .collect()
}

/// The number of a record. Panics unless [`payload`] made its data.
pub(crate) fn number_of(record: &Record) -> u64 {
    let (number, rest) = record.data.split_first_chunk().expect("a number");
    let (length, _) = rest.split_first_chunk().expect("a length");
    let number = u64::from_le_bytes(*number);
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    assert!(length < 1 << 30, "a wrong payload was delivered");
    assert!(
        record.data == payload(number, length),
        "a wrong payload was delivered: {number}"
    );
    assert_eq!(record.explicit_hash_key, hash_key(number), "{number}");
    number
}

pub(crate) fn numbers(batch: &ReadBatch) -> Vec<u64> {
    batch.records.iter().map(number_of).collect()
}

pub(crate) fn record(stream: &StreamName, number: u64, length: usize) -> NewRecord {
    NewRecord::new(
        stream.clone(),
        Some("key".to_owned()),
        payload(number, length),
    )
    .with_explicit_hash_key(hash_key(number))
}

/// Every third record of a stream has a hash key.
fn hash_key(number: u64) -> Option<u128> {
    (number / 3)
        .is_multiple_of(3)
        .then(|| u128::MAX - u128::from(number))
}

pub(crate) async fn read_all(store: &dyn RecordStore, stream: &StreamName) -> ReadBatch {
    store
        .oldest(stream, None, limits(usize::MAX))
        .await
        .unwrap()
}

/// Appends records with these numbers in one call.
pub(crate) async fn append(
    store: &dyn RecordStore,
    stream: &StreamName,
    numbers: impl IntoIterator<Item = u64>,
    length: usize,
) {
    let new = numbers.into_iter().map(|n| record(stream, n, length));
    store.append(new.collect()).await.unwrap();
}

/// Checks that a stream consists of these records, in this order.
pub(crate) async fn assert_holds(
    store: &dyn RecordStore,
    stream: &StreamName,
    expected: impl IntoIterator<Item = u64>,
) {
    let held = numbers(&read_all(store, stream).await);
    assert_eq!(held, expected.into_iter().collect::<Vec<_>>());
}

/// Deletes all records of a stream.
pub(crate) async fn delete_all(store: &dyn RecordStore, stream: &StreamName) {
    let held = read_all(store, stream).await.records;
    delete(store, stream, &held).await;
}

/// Deletes records of a stream.
pub(crate) async fn delete(store: &dyn RecordStore, stream: &StreamName, records: &[Record]) {
    let ids = records.iter().map(|record| record.id);
    let settlement = Settlement::new(stream.clone()).delete(ids);
    let removed = store.settle(settlement).await.unwrap();
    assert_eq!(removed.records, records.len());
}

/// A number, unless an environment variable has another.
pub(crate) fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|times| times.parse().ok())
        .unwrap_or(usual)
}

/// Runs asynchronous work from a test that is not `async`.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(work)
}

/// Pseudo-random numbers, the same in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }
}
