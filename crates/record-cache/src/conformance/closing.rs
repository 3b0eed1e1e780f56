//! Checks closing a store.

use std::pin::Pin;

use super::support::{all, append, join_all, numbered, record, stream};
use crate::{RecordId, RecordStore, Settlement, StoreError};

pub(super) async fn a_closed_store_refuses_and_remembers_its_counters(store: &dyn RecordStore) {
    let name = stream("closed");
    append(store, numbered(&name, 0..5)).await;
    let last = store.stats();
    store.close().await.expect("close succeeds");
    store.close().await.expect("closing again succeeds");

    let appended = store.append(vec![record(&name, "late")]).await;
    assert!(is_closed(&appended), "append is refused");
    let nothing = store.append(Vec::new()).await;
    assert!(is_closed(&nothing), "even of nothing");
    let read = store.oldest(&name, None, all()).await;
    assert!(is_closed(&read), "oldest is refused");
    let step = Settlement::new(name.clone()).delete([RecordId::new(0)]);
    let settled = store.settle(step).await;
    assert!(is_closed(&settled), "settle is refused");
    let cleared = store.clear().await;
    assert!(is_closed(&cleared), "clear is refused");
    assert_eq!(store.stats(), last, "the counters keep their last values");
}

fn is_closed<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Closed))
}

pub(super) async fn all_who_close_wait_and_succeed(store: &dyn RecordStore) {
    append(store, numbered(&stream("closing"), 0..5)).await;
    let closing = (0..8)
        .map(|_| Box::pin(store.close()) as Pin<Box<dyn Future<Output = Result<(), StoreError>>>>);
    for closed in join_all(closing.collect()).await {
        closed.expect("each close succeeds");
    }
}

pub(super) async fn calls_before_a_close_are_completed(store: &dyn RecordStore) {
    let name = stream("busy");
    type Call<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;
    let mut calls: Vec<Call<'_>> = Vec::new();
    for n in 0..32_u32 {
        calls.push(Box::pin(
            store.append(vec![record(&name, n.to_be_bytes().to_vec())]),
        ));
    }
    calls.push(Box::pin(store.close()));
    let outcomes = join_all(calls).await;
    outcomes[32].as_ref().expect("close succeeds");
    let (accepted, refused): (Vec<_>, Vec<_>) =
        outcomes[..32].iter().partition(|outcome| outcome.is_ok());
    let all_refused = refused.into_iter().all(is_closed);
    assert!(all_refused, "only for the close");
    let stored = accepted.len();
    assert_eq!(
        store.stats().records(),
        stored,
        "what was accepted is there"
    );
    assert_eq!(stored, 32, "what was asked before the close is accepted");
}
