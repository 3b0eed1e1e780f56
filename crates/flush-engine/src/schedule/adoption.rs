//! Decides when to adopt records of instances that have ended.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::delivery::Passes;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::sleep;
use crate::storage::Slots;

const LEAST_WAIT: Duration = Duration::from_secs(60);

/// Adopts immediately, then again after passes, but at most once a minute. Other instances end at
/// any time, and passes make room.
pub(crate) async fn adopt_while_open(
    slots: Slots,
    cache: Arc<Cache>,
    passes: Arc<Passes>,
    lifecycle: Arc<Lifecycle>,
) {
    let mut pass_ended = passes.ended();
    loop {
        slots.adopt(&cache, &lifecycle).await;
        tokio::select! {
            () = lifecycle.closing() => return,
            () = sleep(LEAST_WAIT) => {}
        }
        tokio::select! {
            () = lifecycle.closing() => return,
            _ = pass_ended.changed() => {}
        }
    }
}
