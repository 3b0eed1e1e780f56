//! The state shared by callers, the writer, the reader and the watch.
//!
//! [`Catalog`] stays locked during its index's I/O, which takes bounded time.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::mailbox::Mailbox;
use crate::counters::Counters;
use crate::log::buffers::Buffers;
use crate::log::catalog::Catalog;
use crate::log::group::Prepared;
use crate::{Amount, NewRecord, ReadBatch, ReadLimits, Settlement, StoreError, StreamName};

/// One open store.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The directory, as an absolute path.
    pub(crate) path: PathBuf,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) requests: Mailbox<Request, Done>,
    pub(crate) reads: Mailbox<Read, ReadBatch>,
    /// Buffers for reads.
    pub(crate) buffers: Buffers,
    /// Ends the watch when dropped.
    _watch: Sender<()>,
    /// Commits of groups that contain appends.
    #[cfg(test)]
    pub(crate) commits: std::sync::atomic::AtomicU64,
}

/// A pending read of the oldest records of a stream.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) stream: StreamName,
    pub(crate) after: Option<u64>,
    pub(crate) limits: ReadLimits,
}

/// A request to the writer.
#[derive(Debug)]
pub(crate) enum Request {
    Append(Prepared),
    Settle(Settlement),
    /// Drops records that turned out to be damaged.
    Lose(Settlement),
    /// Builds another index if this one is broken.
    Mend,
    Clear,
    Close,
}

/// The outcome of a request.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) removed: Amount,
    /// The appended records, to be freed where the caller runs, mostly by the thread that allocated
    /// them. Freeing them all on the writer's thread would delay the next group and contend for the
    /// allocator's locks.
    pub(crate) appended: Vec<NewRecord>,
}

impl From<Amount> for Done {
    fn from(removed: Amount) -> Self {
        Self {
            removed,
            ..Self::default()
        }
    }
}

impl Shared {
    pub(crate) fn new(path: PathBuf, watch: Sender<()>) -> Self {
        Self {
            path,
            catalog: Arc::default(),
            counters: Mutex::default(),
            requests: Mailbox::new(|request| matches!(request, Request::Close)),
            reads: Mailbox::new(|_| false),
            buffers: Buffers::default(),
            _watch: watch,
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU64::default(),
        }
    }
}

pub(crate) fn stalled() -> StoreError {
    StoreError::unavailable_because("the disk does not respond")
}
