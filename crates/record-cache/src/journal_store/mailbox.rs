//! How callers hand work to a thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a thread goes on waiting because somebody came.
const EXTENSIONS: usize = 6;

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

    /// Waits for items and takes them all.
    ///
    /// With fewer than `expected` it goes on waiting as long as they keep coming with gaps
    /// no longer than `gap`. Returns nothing once the mailbox is closed and empty.
    pub(super) fn take(&self, expected: usize, gap: Duration) -> Vec<T> {
        let mut state = self.lock();
        state.wanted = 1;
        state = self
            .arrived
            .wait_while(state, |state| state.waiting.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.wanted = expected;
        for _ in 0..EXTENSIONS {
            let before = state.waiting.len();
            let few = |state: &mut State<T>| state.waiting.len() < expected && !state.closed;
            let waited = self.arrived.wait_timeout_while(state, gap, few);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.waiting.len() == before || !few(&mut state) {
                break;
            }
        }
        state.wanted = 0;
        let as_many = Vec::with_capacity(state.waiting.len());
        std::mem::replace(&mut state.waiting, as_many)
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
