//! Passes when enough waits, or for long enough.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use batcher::BatchLimits;
use record_cache::{Amount, StoreStats};
use tokio::time::{Instant, sleep_until};

use crate::cache::backlog::Arrivals;
use crate::delivery::backoff;
use crate::delivery::pass::Passed;
use crate::delivery::plan::Plan;
use crate::lifecycle::inner::Inner;
use crate::{EngineOptions, FlushStrategy};

/// What adaptive flushing goes by, if that is the strategy.
pub(crate) fn arrivals(
    options: &EngineOptions,
    request: BatchLimits,
    cached: &StoreStats,
) -> Option<Arrivals> {
    let FlushStrategy::Adaptive {
        max_delay,
        max_records,
        max_bytes,
    } = options.flush_strategy
    else {
        return None;
    };
    let full = Amount::new(
        max_records.clamp(1, request.max_items.get()),
        max_bytes.clamp(1, request.max_bytes.get()),
    );
    Some(Arrivals::new(max_delay, full, cached))
}

/// Runs passes while the engine is enabled, until it closes.
pub(crate) async fn run(inner: Arc<Inner>) {
    let Some(arrivals) = &inner.arrivals else {
        return;
    };
    let mut enabled = inner.enabled.subscribe();
    let mut pass_ended = inner.pass_ended.subscribe();
    let mut rest = Rest::default();
    loop {
        tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            _ = enabled.wait_for(|&enabled| enabled) => {}
        }
        pass_ended.mark_unchanged();
        let look = arrivals.look(|| inner.store.stats());
        let mut wakes_at = look.next;
        if rest.is_over() && !look.due.is_empty() {
            // If a pass is running already, its end is waited for.
            if let Some(passed) = inner.try_pass(Plan::Adaptive).await {
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
            () = inner.closing.cancelled() => return,
            _ = enabled.wait_for(|&enabled| !enabled) => {}
            _ = pass_ended.changed() => {}
            () = arrivals.woken() => {}
            () = sleeping => {}
        }
    }
}

/// Keeps passes apart that come to nothing.
#[derive(Debug, Default)]
struct Rest {
    errors: u32,
    until: Option<Instant>,
}

impl Rest {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    /// A pass that fails as a whole is followed by a wait, as a stream that fails.
    fn after(&mut self, passed: &Passed) {
        let failed = passed.error.is_some() && !passed.done.made_progress();
        self.errors = if failed {
            self.errors.saturating_add(1)
        } else {
            0
        };
        let wait = match (failed, passed.began) {
            (true, _) => backoff::drain_wait(self.errors, fastrand::f64()),
            (false, true) => Duration::ZERO,
            // Somebody else was faster.
            (false, false) => Duration::from_millis(1),
        };
        self.until = Some(Instant::now() + wait);
    }
}
