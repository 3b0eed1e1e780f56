//! Checks dropped futures.

use std::sync::Arc;

use super::support::{append, ids, numbered, read_all, record, settle, start_and_drop, stream};
use crate::{RecordStore, Settlement};

pub(super) async fn a_dropped_call_is_done_whole_or_not_at_all(
    open: &impl AsyncFn() -> Arc<dyn RecordStore>,
) {
    let (one, two) = (stream("one"), stream("two"));
    for _ in 0..5 {
        let store = open().await;
        let both = (0..40_u32).map(|n| {
            let name = if n % 2 == 0 { &one } else { &two };
            record(name, vec![3; if n == 20 { 20_000 } else { 400 }])
        });
        start_and_drop(store.append(both.collect()));
        // After a close, nothing is under way any more.
        store.close().await.expect("close succeeds");
        let streams = store.stats().streams;
        let counts = [&one, &two].map(|name| streams.get(name).map_or(0, |queue| queue.records));
        let is_whole = [[0, 0], [20, 20]].contains(&counts);
        assert!(is_whole, "all or none, in both streams: {counts:?}");

        let store = open().await;
        append(&*store, numbered(&one, 0..20)).await;
        let held = ids(&read_all(&*store, &one).await);
        start_and_drop(store.settle(Settlement::new(one.clone()).delete(held[..10].to_vec())));
        settle(&*store, Settlement::new(one.clone())).await;
        store.close().await.expect("close succeeds");
        let left = store.stats().records();
        let is_whole = [10, 20].contains(&left);
        assert!(is_whole, "all deleted or none: {left} are left");
    }
}
