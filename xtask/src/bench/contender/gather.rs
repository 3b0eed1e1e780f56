//! Group commit for the comparators: writes and syncs all waiting records together.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::terms::Group;

/// Callers that were answered together come back together within this time. The stores wait for
/// them too.
const PATIENCE: Duration = Duration::from_micros(400);

/// A queue of records for a writer's thread.
pub(crate) struct Gather {
    group: Group,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Bytes, oneshot::Sender<()>)>,
    closing: Option<oneshot::Sender<()>>,
    wanted: usize,
    records: u64,
    groups: u64,
    failure: Option<String>,
}

impl Gather {
    /// Starts the writer's thread, which must call [`serve`](Self::serve).
    pub(super) fn start(
        group: Group,
        work: impl FnOnce(&Self) -> Result<()> + Send + 'static,
    ) -> Result<Arc<Self>> {
        let gather = Arc::new(Self {
            group,
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let shared = Arc::clone(&gather);
        thread::Builder::new().spawn(move || {
            if let Err(error) = work(&shared) {
                let mut state = shared.lock();
                state.failure = Some(format!("{error:#}"));
                state.waiting.clear();
            }
        })?;
        Ok(gather)
    }

    pub(super) async fn append(&self, data: Bytes) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.push_back((data, reply));
            if state.waiting.len() >= state.wanted {
                self.wake.notify_one();
            }
        }
        let failed = || anyhow!(self.lock().failure.clone().unwrap_or_default());
        answer
            .await
            .map_err(|_| failed())
            .context("the writer has ended")
    }

    pub(super) fn group_size(&self) -> f64 {
        let state = self.lock();
        state.records as f64 / state.groups.max(1) as f64
    }

    pub(super) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.lock().closing = Some(reply);
        self.wake.notify_one();
        answer
            .await
            .context("the writer ended before it was told to")
    }

    /// Passes each group to `write`, until the end.
    pub(super) fn serve(&self, mut write: impl FnMut(&[Bytes]) -> Result<()>) -> Result<()> {
        let mut expected = 0;
        let mut patience = Duration::ZERO;
        while let Some(waiting) = self.next_group(expected, patience) {
            let (records, replies): (Vec<Bytes>, Vec<_>) = waiting.into_iter().unzip();
            let began = Instant::now();
            write(&records)?;
            patience = PATIENCE.min(began.elapsed());
            expected = if records.len() > 1 { records.len() } else { 0 };
            {
                let mut state = self.lock();
                state.records += records.len() as u64;
                state.groups += 1;
            }
            for reply in replies {
                let _ = reply.send(());
            }
        }
        if let Some(closing) = self.lock().closing.take() {
            let _ = closing.send(());
        }
        Ok(())
    }

    fn next_group(
        &self,
        expected: usize,
        patience: Duration,
    ) -> Option<VecDeque<(Bytes, oneshot::Sender<()>)>> {
        let mut state = self.lock();
        state.wanted = 1;
        while state.waiting.is_empty() {
            if state.closing.is_some() {
                return None;
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if self.group == Group::One {
            return Some(state.waiting.pop_front().into_iter().collect());
        }
        let deadline = Instant::now() + patience;
        while state.waiting.len() < expected {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wanted = expected;
            (state, _) = self
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(mem::take(&mut state.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
