//! Runs passes until the cache is empty.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::{EngineError, FlushData};
use crate::cache::Cache;
use crate::delivery::{Effect, Passes, Plan};
use crate::lifecycle::runtime::{Instant, sleep_until, timeout_at};

/// Delivers until the cache is empty, progress stops, an error occurs, the deadline passes, or
/// `stop` is cancelled. Progress can only stop once every cached stream had its turn: one that is in
/// backoff from before is waited for.
pub(crate) async fn run(
    cache: Arc<Cache>,
    passes: Arc<Passes>,
    within: Duration,
    stop: CancellationToken,
) -> Result<FlushData, EngineError> {
    let deadline = Instant::now().checked_add(within);
    let mut sum = FlushData::default();
    let mut served = HashSet::new();
    loop {
        let turn = until(deadline, passes.turn());
        let Some(Some(turn)) = stop.run_until_cancelled(turn).await else {
            return Ok(sum);
        };
        if stop.is_cancelled() {
            return Ok(sum);
        }
        let Some(wait) = turn.wait(&cache.stats()) else {
            return Ok(sum);
        };
        let woken = Instant::now() + wait;
        if deadline.is_some_and(|deadline| deadline <= woken) {
            // Nothing more can be sent in time, and nothing is in flight.
            return Ok(sum);
        }
        if !wait.is_zero() {
            drop(turn);
            if stop.run_until_cancelled(sleep_until(woken)).await.is_none() {
                return Ok(sum);
            }
            continue;
        }
        let plan = Plan::Drain {
            deadline,
            stop: stop.clone(),
        };
        let passed = Arc::clone(&passes).run(turn, plan).await;
        sum.add(passed.done);
        if let Some(error) = passed.error {
            return Err(error.after(sum));
        }
        served.extend(passed.served);
        let is_served = |stream| served.contains(stream);
        if passed.effect != Effect::Moved && cache.stats().streams.keys().all(is_served) {
            return Ok(sum);
        }
    }
}

/// Waits for a future until the deadline.
async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
