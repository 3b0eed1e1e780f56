//! Runs passes on a timer.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{Passes, Plan};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::{Instant, sleep};

/// Runs a pass once the engine has been enabled for `interval` since the last one ended, until it
/// closes. In between, it catches up: while streams delivered by the last pass have full batches
/// waiting, passes of those streams alone follow immediately. They do not delay the next pass of
/// all streams.
///
/// Disabled time does not count. If each `enable` restarted the interval, frequent switching would
/// prevent any pass.
pub(crate) async fn run(passes: Arc<Passes>, lifecycle: Arc<Lifecycle>, interval: Duration) {
    let mut enabled = lifecycle.enabled();
    let mut pass_ended = passes.ended();
    let mut left = interval;
    let mut behind = Vec::new();
    let mut passes_before = 0;
    loop {
        tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            _ = enabled.wait_for(|&enabled| enabled) => {}
        }
        let since = Instant::now();
        if !behind.is_empty() && !left.is_zero() {
            let plan = Plan::CatchUp(std::mem::take(&mut behind));
            if let Some(passed) = passes.try_run(plan).await {
                passed.log();
            }
            left = left.saturating_sub(since.elapsed());
        }
        let since = Instant::now();
        let due = tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            _ = pass_ended.changed() => {
                let ended = pass_ended.borrow_and_update();
                behind.clone_from(&ended.behind);
                if ended.passes == passes_before {
                    left = left.saturating_sub(since.elapsed());
                } else {
                    passes_before = ended.passes;
                    left = interval;
                }
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
            // If a pass is already running, the interval counts from its end.
            if let Some(passed) = passes.try_run(Plan::Timer).await {
                passed.log();
            }
        }
    }
}
