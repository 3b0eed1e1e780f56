//! Passes on a timer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::delivery::plan::Plan;
use crate::lifecycle::inner::Inner;

/// Runs a pass when the engine was enabled for `interval` since the last one ended, until
/// it closes.
///
/// Time during which it is disabled does not count. Were the interval to begin anew
/// whenever it is enabled, an owner who switches often would never see a pass.
pub(crate) async fn run(inner: Arc<Inner>, interval: Duration) {
    let mut enabled = inner.enabled.subscribe();
    let mut pass_ended = inner.pass_ended.subscribe();
    let mut left = interval;
    loop {
        tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            _ = enabled.wait_for(|&enabled| enabled) => {}
        }
        let since = Instant::now();
        let due = tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            _ = pass_ended.changed() => {
                left = interval;
                false
            }
            _ = enabled.wait_for(|&enabled| !enabled) => {
                left = left.saturating_sub(since.elapsed());
                false
            }
            () = sleep(left) => true,
        };
        if due {
            left = interval;
            // If a pass is running already, the interval counts from its end.
            if let Some(passed) = inner.try_pass(Plan::Timer).await {
                passed.log();
            }
        }
    }
}
