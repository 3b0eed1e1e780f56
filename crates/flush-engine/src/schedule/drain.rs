//! Passes that go on until nothing is cached.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::delivery::history::PassMemory;
use crate::delivery::pass;
use crate::delivery::plan::Plan;
use crate::lifecycle::inner::Inner;
use crate::{EngineError, FlushData};

/// Delivers until the cache is empty, no progress is made, an error occurs, the deadline is
/// there, or nobody wants any more of it.
pub(crate) async fn run(
    inner: Arc<Inner>,
    within: Duration,
    stop: CancellationToken,
) -> Result<FlushData, EngineError> {
    let deadline = Instant::now().checked_add(within);
    let mut sum = FlushData::default();
    loop {
        let turn = until(deadline, turn(&inner));
        let Some(Some(memory)) = stop.run_until_cancelled(turn).await else {
            return Ok(sum);
        };
        if stop.is_cancelled() {
            return Ok(sum);
        }
        let streams = inner.store.stats().streams;
        let Some(wait) = streams.keys().map(|name| memory.of(name).wait()).min() else {
            return Ok(sum);
        };
        if !wait.is_zero() {
            drop(memory);
            let woken = Instant::now() + wait;
            if deadline.is_some_and(|deadline| deadline <= woken) {
                // Nothing more can be sent in time, and nothing is under way.
                return Ok(sum);
            }
            if stop.run_until_cancelled(sleep_until(woken)).await.is_none() {
                return Ok(sum);
            }
            continue;
        }
        let plan = Plan::Drain {
            deadline,
            stop: stop.clone(),
        };
        let passed = pass::run(Arc::clone(&inner), memory, plan).await;
        sum.add(passed.done);
        if let Some(error) = passed.error {
            return Err(error.after(sum));
        }
        if passed.stalled {
            return Ok(sum);
        }
    }
}

/// Waits until no pass is running. The one that is makes way.
async fn turn(inner: &Inner) -> OwnedMutexGuard<PassMemory> {
    let _wanted = inner.turns.want();
    Arc::clone(&inner.memory).lock_owned().await
}

/// Waits for a future, but not beyond the deadline.
async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
