//! The way of a call from its task to the writer's thread, and of the answer back.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;
use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, RecordId, Settlement, StoreError, StreamName,
};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// One call.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        records: Vec<NewRecord>,
        reply: Reply<()>,
    },
    Settle {
        settlement: Settlement,
        reply: Reply<Amount>,
    },
    Oldest {
        stream: StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
        reply: Reply<ReadBatch>,
    },
    Clear {
        reply: Reply<Amount>,
    },
}

impl Command {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Append { reply, .. } => reply.is_closed(),
            Self::Settle { reply, .. } | Self::Clear { reply } => reply.is_closed(),
            Self::Oldest { reply, .. } => reply.is_closed(),
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } | Self::Clear { reply } => drop(reply.send(Err(error))),
            Self::Oldest { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Append { records, .. } => records.iter().map(NewRecord::size).sum(),
            _ => 0,
        }
    }
}

/// Calls that wait for the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Command>,
    /// The writer sleeps until so many calls wait.
    wanted: usize,
    end: End,
}

#[derive(Debug, Default)]
enum End {
    #[default]
    Open,
    /// Those who wait for the end.
    Closing(Vec<Reply<()>>),
    Closed,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Calls(Vec<Command>),
    /// Nobody wants anything.
    Nothing,
    /// The queue is closed and empty.
    End,
}

/// So many bytes at most go into one commit, unless one call brings more.
const GROUP_BYTES: u64 = 8 * 1024 * 1024;
const GROUP_COMMANDS: usize = 4096;

impl Queue {
    pub(super) fn push(&self, command: Command) -> Result<(), StoreError> {
        let mut state = self.lock();
        if !matches!(state.end, End::Open) {
            return Err(StoreError::Closed);
        }
        state.commands.push_back(command);
        if state.commands.len() >= state.wanted {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.lock().end, End::Open)
    }

    /// Lets no further call in; `reply` hears of the end, if it is not over yet.
    pub(super) fn close(&self, reply: Option<Reply<()>>) {
        let mut state = self.lock();
        match &mut state.end {
            End::Open => state.end = End::Closing(reply.into_iter().collect()),
            End::Closing(waiting) => waiting.extend(reply),
            End::Closed => {
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
            }
        }
        self.wake.notify_one();
    }

    /// Says that everything is released.
    pub(super) fn closed(&self, outcome: &Result<(), StoreError>) {
        let mut state = self.lock();
        if let End::Closing(waiting) = std::mem::replace(&mut state.end, End::Closed) {
            for reply in waiting {
                let _ = reply.send(outcome.clone());
            }
        }
        for command in state.commands.drain(..) {
            command.refuse(StoreError::Closed);
        }
    }

    /// The calls for the next commit.
    ///
    /// Waits for one call, no longer than `rest` where that is given, and from there on no
    /// longer than `patience` for as many as `expected`: those who were answered a moment ago
    /// tend to come back together.
    pub(super) fn next(&self, expected: usize, patience: Duration, rest: Option<Duration>) -> Next {
        let mut state = self.lock();
        state.wanted = 1;
        let rested = rest.map(|rest| clock::monotonic() + rest);
        while state.commands.is_empty() {
            if !matches!(state.end, End::Open) {
                return Next::End;
            }
            let Some(rested) = rested else {
                let woken = self.wake.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = rested.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return Next::Nothing;
            }
            let woken = self.wake.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = clock::monotonic() + patience;
        while state.commands.len() < expected && matches!(state.end, End::Open) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            state.wanted = expected;
            (state, _) = self
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(command) = state.commands.pop_front() {
            bytes += command.bytes();
            if !group.is_empty() && (bytes > GROUP_BYTES || group.len() >= GROUP_COMMANDS) {
                state.commands.push_front(command);
                break;
            }
            // Whoever gave up before it began gets nothing done.
            if !command.is_abandoned() {
                group.push(command);
            }
        }
        Next::Calls(group)
    }

    // No code that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
