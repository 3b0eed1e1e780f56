//! Runs passes when enough records are waiting, or have waited long enough.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::delivery::{Effect, Passed, Passes, Plan, drain_wait};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::{Instant, sleep_until};

/// Runs passes while the engine is enabled, until it closes.
pub(crate) async fn run(cache: Arc<Cache>, passes: Arc<Passes>, lifecycle: Arc<Lifecycle>) {
    let mut enabled = lifecycle.enabled();
    let mut pass_ended = passes.ended();
    let mut rest = Rest::default();
    loop {
        tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            _ = enabled.wait_for(|&enabled| enabled) => {}
        }
        pass_ended.mark_unchanged();
        let Some(look) = cache.look_at_backlog() else {
            return;
        };
        let mut wakes_at = look.next;
        if rest.is_over() && !look.due.is_empty() {
            // If a pass is already running, waits for it to end.
            if let Some(passed) = passes.try_run(Plan::Adaptive).await {
                passed.log();
                rest.after(&passed);
                continue;
            }
            wakes_at = None;
        }
        let wakes_at = rest.until.filter(|_| !rest.is_over()).or(wakes_at);
        let sleeping = async {
            match wakes_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            _ = enabled.wait_for(|&enabled| !enabled) => {}
            _ = pass_ended.changed() => {}
            () = cache.backlog_changed() => {}
            () = sleeping => {}
        }
    }
}

/// Spaces out passes that have no effect.
#[derive(Debug, Default)]
struct Rest {
    errors: u32,
    until: Option<Instant>,
}

impl Rest {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    /// Backs off after a pass that fails as a whole, as after a failed stream.
    fn after(&mut self, passed: &Passed) {
        let failed = passed.error.is_some() && !passed.done.made_progress();
        self.errors = if failed {
            self.errors.saturating_add(1)
        } else {
            0
        };
        let wait = match (failed, passed.effect) {
            (true, _) => drain_wait(self.errors, fastrand::f64()),
            (false, Effect::Stalled | Effect::Moved) => Duration::ZERO,
            // Another pass got there first.
            (false, Effect::Idle) => Duration::from_millis(1),
        };
        self.until = Some(Instant::now() + wait);
    }
}
