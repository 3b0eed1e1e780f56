//! Runs a pass when the page goes into the background: it may be the last chance.

use std::sync::Arc;

use crate::delivery::{Passes, Plan};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::page_hidden;

/// Runs passes until the engine closes. Browsers slow the timers of hidden pages down, and end
/// pages that they need room for without asking.
pub(crate) async fn run(passes: Arc<Passes>, lifecycle: Arc<Lifecycle>) {
    let mut hidden = page_hidden();
    loop {
        let told = tokio::select! {
            biased;
            () = lifecycle.closing() => return,
            told = hidden.recv() => told,
        };
        if told.is_none() {
            return;
        }
        if lifecycle.is_enabled()
            && let Some(passed) = passes.try_run(Plan::Timer).await
        {
            passed.log();
        }
    }
}
