//! What durable records can be written with.

mod gather;
mod raw;
mod sqlite;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use record_cache::{
    Durability, JournalStore, MemoryStore, NewRecord, RecordStore, SledStore, StreamName,
};
use serde::{Deserialize, Serialize};

use self::gather::Gather;
use self::sqlite::Journal;

/// What a record is filed under here; it counts against its size.
pub(crate) const KEY: &str = "0123456789abcdef";

/// A store of this workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StoreKind {
    Memory,
    Sled,
    Journal,
}

/// Anything that takes records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Contender {
    /// One file, appended to and synced: the limit.
    Raw,
    /// SQLite as it comes, a transaction for each record.
    SqliteJournal,
    /// SQLite with a write-ahead log, a transaction for each record.
    SqliteWal,
    /// The same, a transaction for all records that wait.
    SqliteWalGrouped,
    Store(StoreKind),
}

/// What a record is to survive, as it is written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Promise {
    PowerLoss,
    ProcessCrash,
}

impl StoreKind {
    /// Those that keep records on disk.
    pub(crate) const DURABLE: &[Self] = &[Self::Sled, Self::Journal];

    pub(crate) async fn open(
        self,
        directory: &Path,
        promise: Promise,
        expected_bytes: u64,
    ) -> Result<Arc<dyn RecordStore>> {
        Ok(match self {
            Self::Memory => Arc::new(MemoryStore::new()),
            Self::Sled => {
                let builder = SledStore::builder(directory.join("store"));
                let builder = builder
                    .durability(promise.into())
                    .expected_bytes(expected_bytes);
                Arc::new(builder.open().await?)
            }
            Self::Journal => {
                let builder = JournalStore::builder(directory.join("store"));
                let builder = builder
                    .durability(promise.into())
                    .expected_bytes(expected_bytes);
                Arc::new(builder.open().await?)
            }
        })
    }
}

impl From<Promise> for Durability {
    fn from(promise: Promise) -> Self {
        match promise {
            Promise::PowerLoss => Self::PowerLoss,
            Promise::ProcessCrash => Self::ProcessCrash,
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Journal => "journal",
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw append",
            Self::SqliteJournal => "SQLite journal",
            Self::SqliteWal => "SQLite WAL",
            Self::SqliteWalGrouped => "SQLite WAL grouped",
            Self::Store(store) => return store.fmt(f),
        })
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerLoss => "PowerLoss",
            Self::ProcessCrash => "ProcessCrash",
        })
    }
}

/// An open contender.
pub(crate) enum Target {
    Store {
        store: Arc<dyn RecordStore>,
        stream: StreamName,
    },
    Writer(Arc<Gather>),
}

impl Target {
    pub(crate) async fn open(
        contender: Contender,
        directory: &Path,
        promise: Promise,
        expected_bytes: u64,
    ) -> Result<Self> {
        Ok(match contender {
            Contender::Raw => Self::Writer(raw::start(directory, promise)?),
            Contender::SqliteJournal => Self::Writer(sqlite::start(
                directory,
                promise,
                Journal::AsItComes,
                Group::One,
            )?),
            Contender::SqliteWal => Self::Writer(sqlite::start(
                directory,
                promise,
                Journal::WriteAhead,
                Group::One,
            )?),
            Contender::SqliteWalGrouped => Self::Writer(sqlite::start(
                directory,
                promise,
                Journal::WriteAhead,
                Group::All,
            )?),
            Contender::Store(store) => Self::Store {
                store: store.open(directory, promise, expected_bytes).await?,
                stream: stream("bench")?,
            },
        })
    }

    /// Returns when the record is as safe as was asked for.
    pub(crate) async fn append(&self, data: Bytes) -> Result<()> {
        match self {
            Self::Store { store, stream } => {
                let record = NewRecord::new(stream.clone(), Some(KEY.to_owned()), data);
                Ok(store.append(vec![record]).await?)
            }
            Self::Writer(gather) => gather.append(data).await,
        }
    }

    /// How many records went into one sync, where that is known.
    pub(crate) fn group_size(&self) -> Option<f64> {
        match self {
            Self::Store { .. } => None,
            Self::Writer(gather) => Some(gather.group_size()),
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Store { store, .. } => Ok(store.close().await?),
            Self::Writer(gather) => gather.close().await,
        }
    }
}

/// How many records a writer commits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    One,
    All,
}

pub(crate) fn stream(name: &str) -> Result<StreamName> {
    Ok(StreamName::new(name)?)
}

/// Bytes that no compression makes smaller.
pub(crate) fn payload(bytes: u64) -> Result<Bytes> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes;
    let mut data = Vec::new();
    while (data.len() as u64) < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(usize::try_from(bytes)?);
    Ok(data.into())
}

/// The data of a record whose key and data have this size.
pub(crate) fn data_of_record(bytes: u64) -> Result<Bytes> {
    payload(bytes.saturating_sub(KEY.len() as u64))
}
