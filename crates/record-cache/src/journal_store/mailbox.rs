//! How callers hand work to a thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue that is emptied in one go.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    /// The thread sleeps until so many are waiting; 0 while it is awake.
    wanted: usize,
    closed: bool,
}

impl<T> State<T> {
    fn take(&mut self) -> Vec<T> {
        self.wanted = 0;
        let as_many = Vec::with_capacity(self.waiting.len());
        std::mem::replace(&mut self.waiting, as_many)
    }
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Self {
        let state = State {
            waiting: Vec::new(),
            wanted: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
        }
    }

    /// Gives the item back when nobody will take it any more.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        state.waiting.push(item);
        let enough = state.wanted > 0 && state.waiting.len() >= state.wanted;
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for items and takes them all; nothing once the mailbox is closed and empty.
    pub(super) fn next(&self) -> Vec<T> {
        let mut state = self.lock();
        state.wanted = 1;
        state = self
            .arrived
            .wait_while(state, |state| state.waiting.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.take()
    }

    /// Waits for so many items, no longer than this, and takes what has come.
    pub(super) fn more(&self, wanted: usize, patience: Duration) -> Vec<T> {
        let mut state = self.lock();
        state.wanted = wanted;
        let few = |state: &mut State<T>| state.waiting.len() < wanted && !state.closed;
        let waited = self.arrived.wait_timeout_while(state, patience, few);
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses all that comes, and returns what has come.
    pub(super) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        left
    }

    // No code that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
