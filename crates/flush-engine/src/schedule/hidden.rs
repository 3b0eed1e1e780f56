//! Runs a pass when the page goes into the background, which may be the last chance.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::delivery::{Passes, Plan};
use crate::lifecycle::Lifecycle;

/// Runs a pass for each message, until the engine closes. Browsers slow down the timers of hidden
/// pages, and may end hidden pages without warning to free memory.
pub(crate) async fn run(
    mut hidden: mpsc::Receiver<()>,
    passes: Arc<Passes>,
    lifecycle: Arc<Lifecycle>,
) {
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
