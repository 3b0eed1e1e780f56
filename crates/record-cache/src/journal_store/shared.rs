//! What callers, the writer and the reader have in common.

use std::path::PathBuf;
use std::sync::{Mutex, mpsc};

use tokio::sync::oneshot;

use super::buffers::Buffers;
use super::group::Origin;
use super::index::{Index, Settled};
use super::mailbox::Mailbox;
use super::reader::Read;
use crate::{Amount, NewRecord, Settlement, StoreError};

/// One open store.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) index: Mutex<Index>,
    pub(super) requests: Mailbox<Request>,
    pub(super) reads: Mailbox<Read>,
    /// What is read is read into these.
    pub(super) buffers: Buffers,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        records: Vec<NewRecord>,
        origin: Option<Origin>,
        reply: Reply<()>,
    },
    Settle {
        settlement: Settlement,
        reply: Reply<Amount>,
    },
    /// Drop records that turned out to be damaged.
    Lose {
        lost: Settled,
        reply: mpsc::Sender<()>,
    },
    /// How far another store's stream has been taken over, and of what contents.
    Origin {
        source: String,
        stream: crate::StreamName,
        reply: Reply<Option<Origin>>,
    },
    Clear {
        reply: Reply<Amount>,
    },
    Close {
        reply: Reply<()>,
    },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

impl Shared {
    pub(super) fn new(path: PathBuf, index: Index) -> Self {
        let index = Mutex::new(index);
        Self {
            path,
            index,
            requests: Mailbox::new(),
            reads: Mailbox::new(),
            buffers: Buffers::default(),
        }
    }
}
