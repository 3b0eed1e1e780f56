//! Passes back to back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::inner::Inner;
use crate::pass::{self, PassLimits, Patience};
use crate::{EngineError, FlushData};

/// Runs passes until the cache is empty, no progress is made, an error occurs, the
/// deadline is there, or nobody wants any more of them.
pub(crate) async fn run(
    inner: Arc<Inner>,
    within: Duration,
    stop: CancellationToken,
) -> Result<FlushData, EngineError> {
    let deadline = Instant::now().checked_add(within);
    let mut sum = FlushData::default();
    loop {
        let turn = until(deadline, Arc::clone(&inner.memory).lock_owned());
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
        let limits = PassLimits {
            deadline,
            patience: Patience::Drain,
        };
        match pass::run(Arc::clone(&inner), memory, limits).await {
            Ok(done) => {
                let progress = done.made_progress();
                sum.add(done);
                if !progress {
                    return Ok(sum);
                }
            }
            Err(mut error) => {
                sum.add(error.take_flushed().unwrap_or_default());
                return Err(error.after(sum));
            }
        }
    }
}

/// Waits for a future, but not beyond the deadline.
async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
