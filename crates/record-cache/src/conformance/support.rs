//! Helpers for the checks.

use std::future::{Future, poll_fn};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::{Amount, NewRecord, ReadLimits, Record, RecordId, RecordStore, Settlement, StreamName};

pub(super) fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("the suite's names are valid")
}

pub(super) fn record(stream: &StreamName, data: impl Into<Bytes>) -> NewRecord {
    NewRecord::new(stream.clone(), Some("key".to_owned()), data)
}

pub(super) fn numbered(stream: &StreamName, numbers: std::ops::Range<u32>) -> Vec<NewRecord> {
    numbers
        .map(|n| {
            let record = record(stream, n.to_be_bytes().to_vec());
            record.with_explicit_hash_key(n.is_multiple_of(5).then(|| u128::MAX - u128::from(n)))
        })
        .collect()
}

pub(super) fn limits(records: usize, bytes: u64) -> ReadLimits {
    let records = NonZeroUsize::new(records).expect("the suite's limits are not zero");
    let bytes = NonZeroU64::new(bytes).expect("the suite's limits are not zero");
    ReadLimits::new(records, bytes)
}

/// Limits that the suite never reaches.
pub(super) fn all() -> ReadLimits {
    limits(usize::MAX, u64::MAX)
}

pub(super) async fn append(store: &dyn RecordStore, records: Vec<NewRecord>) {
    store.append(records).await.expect("append succeeds");
}

pub(super) async fn read(
    store: &dyn RecordStore,
    stream: &StreamName,
    after: Option<RecordId>,
    limits: ReadLimits,
) -> Vec<Record> {
    let batch = store.oldest(stream, after, limits).await;
    let batch = batch.expect("oldest succeeds");
    assert_eq!(batch.damaged, Amount::default(), "nothing is damaged");
    batch.records
}

pub(super) async fn read_all(store: &dyn RecordStore, stream: &StreamName) -> Vec<Record> {
    read(store, stream, None, all()).await
}

pub(super) async fn settle(store: &dyn RecordStore, settlement: Settlement) -> Amount {
    store.settle(settlement).await.expect("settle succeeds")
}

/// Deletes records of a stream.
pub(super) async fn delete(
    store: &dyn RecordStore,
    stream: &StreamName,
    ids: impl IntoIterator<Item = RecordId>,
) -> Amount {
    settle(store, Settlement::new(stream.clone()).delete(ids)).await
}

/// Closes a store and opens its place again.
pub(super) async fn reopen(
    store: Arc<dyn RecordStore>,
    place: &Path,
    open: &impl AsyncFn(&Path) -> Arc<dyn RecordStore>,
) -> Arc<dyn RecordStore> {
    store.close().await.expect("close succeeds");
    drop(store);
    open(place).await
}

pub(super) fn ids(records: &[Record]) -> Vec<RecordId> {
    records.iter().map(|record| record.id).collect()
}

pub(super) fn payloads(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.data.clone()).collect()
}

pub(super) fn removed(records: &[Record]) -> Amount {
    Amount::new(records.len(), records.iter().map(Record::size).sum())
}

/// Polls a call once and drops it.
pub(super) fn start_and_drop(call: impl Future) {
    let mut call = pin!(call);
    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// Drives all futures concurrently, on any runtime.
pub(super) async fn join_all<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// A small random number generator with the same output in every run.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        let product = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = product.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}
