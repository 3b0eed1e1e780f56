//! What callers, the writer, the reader and the watch have in common.
//!
//! Each lock is held for moments and none while another is held, except that [`Catalog`] is
//! asked while its index does I/O, in bounded time.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::Thread;

use tokio::sync::oneshot;

use super::Store;
use super::mailbox::Mailbox;
use crate::log::buffers::Buffers;
use crate::log::catalog::{Catalog, Settled};
use crate::log::counters::Counters;
use crate::{Amount, NewRecord, ReadBatch, ReadLimits, Settlement, StoreError, StreamName};

/// One open store.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) requests: Mailbox<Request, Reply>,
    pub(crate) reads: Mailbox<Read, oneshot::Sender<Result<ReadBatch, StoreError>>>,
    /// What is read is read into these.
    pub(crate) buffers: Buffers,
    /// Woken when there is nothing left to watch.
    pub(crate) watcher: OnceLock<Thread>,
}

/// A pending read of the oldest records of a stream.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) stream: StreamName,
    pub(crate) after: Option<u64>,
    pub(crate) limits: ReadLimits,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    Append(Vec<NewRecord>),
    Settle(Settlement),
    /// Drop records that turned out to be damaged.
    Lose(Settled),
    /// Build another index if this one is broken.
    Mend,
    Clear,
    Close,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Opened(oneshot::Sender<Result<Store, StoreError>>),
    Done(oneshot::Sender<Result<(), StoreError>>),
    Removed(oneshot::Sender<Result<Amount, StoreError>>),
    /// The reader.
    Internal(mpsc::Sender<()>),
}

impl Shared {
    pub(crate) fn new(path: PathBuf) -> Self {
        let reads = Mailbox::new(|_| false);
        reads.rest();
        Self {
            path,
            catalog: Mutex::new(Catalog::unopened()),
            counters: Mutex::default(),
            requests: Mailbox::new(|request| matches!(request, Request::Close)),
            reads,
            buffers: Buffers::default(),
            watcher: OnceLock::new(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }
}

impl Reply {
    pub(crate) fn send(self, outcome: Result<Amount, StoreError>) {
        match self {
            Self::Done(reply) => drop(reply.send(outcome.map(drop))),
            Self::Removed(reply) => drop(reply.send(outcome)),
            Self::Internal(reply) => drop(reply.send(())),
            Self::Opened(reply) => drop(outcome.map_err(|error| reply.send(Err(error)))),
        }
    }

    pub(crate) fn refuse(self, error: &StoreError) {
        self.send(Err(error.clone()));
    }
}

pub(crate) fn stalled() -> StoreError {
    StoreError::unavailable_because("the disk does not answer")
}

pub(crate) fn gone() -> StoreError {
    StoreError::unavailable_because("the thread of the store has ended")
}
