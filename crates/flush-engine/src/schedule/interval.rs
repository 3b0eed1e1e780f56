//! Passes on a timer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::delivery::{Passes, Plan};
use crate::lifecycle::Lifecycle;

/// Runs a pass when the engine was enabled for `interval` since the last one ended, until
/// it closes.
///
/// Time during which it is disabled does not count. Were the interval to begin anew with each
/// `enable`, an owner that switches often would never see a pass.
pub(crate) async fn run(passes: Arc<Passes>, lifecycle: Arc<Lifecycle>, interval: Duration) {
    let mut enabled = lifecycle.enabled();
    let mut pass_ended = passes.ended();
    let mut left = interval;
    loop {
        tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            _ = enabled.wait_for(|&enabled| enabled) => {}
        }
        let since = Instant::now();
        let due = tokio::select! {
            biased;
            () = lifecycle.closing() => return,
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
            if let Some(passed) = passes.try_run(Plan::Timer).await {
                passed.log();
            }
        }
    }
}
