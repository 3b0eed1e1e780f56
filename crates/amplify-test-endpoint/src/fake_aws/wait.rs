//! Waiting for a condition in real time, with or without a runtime.

use std::error::Error;
use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;

use super::state::{Shared, State};

pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// A condition did not come true in time. The message says what was seen instead.
///
/// ```
/// use amplify_test_endpoint::FakeAws;
/// use std::time::Duration;
///
/// let aws = FakeAws::start();
/// let timeout = aws
///     .wait_until_blocking(Duration::from_millis(10), |aws| aws.delivered_count() == 3)
///     .expect_err("no one sends");
/// assert!(timeout.to_string().contains("0 records delivered"));
/// ```
#[derive(Clone, Debug)]
pub struct WaitTimeout(String);

impl WaitTimeout {
    pub(super) fn new(limit: Duration, state: &State) -> Self {
        let mut seen = format!(
            "not so within {limit:?}; {} records delivered, {} requests in flight, {} logged",
            state.delivered_records,
            state.in_flight.now,
            state.log.len(),
        );
        for request in state.log.iter().rev().take(5).rev() {
            seen += &format!(
                "; {} of {} records of {} taken in: {:?}",
                request.accepted, request.records, request.stream, request.outcome
            );
        }
        Self(seen)
    }
}

impl fmt::Display for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for WaitTimeout {}

/// A deadline in real time that needs no runtime's timer.
pub(super) struct Deadline {
    passed: oneshot::Receiver<()>,
    // Dropped with the deadline, which ends the thread early.
    _cancel: mpsc::Sender<()>,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        let (cancel, cancelled) = mpsc::channel::<()>();
        let (pass, passed) = oneshot::channel();
        thread::spawn(move || {
            if cancelled.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Fails only if nobody is waiting any more.
                let _ = pass.send(());
            }
        });
        Self {
            passed,
            _cancel: cancel,
        }
    }

    pub(super) async fn passed(&mut self) {
        // No error can come before the deadline: the thread sends, or our drop cancelled it.
        let _ = (&mut self.passed).await;
    }
}

/// Blocks until the condition holds. Returns `false` if it does not within the limit.
pub(super) fn block_until(shared: &Shared, limit: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = clock::now() + limit;
    loop {
        let version = shared.version();
        if condition() {
            return true;
        }
        if clock::now() >= deadline {
            return false;
        }
        shared.block_while_version_is(version, deadline);
    }
}
