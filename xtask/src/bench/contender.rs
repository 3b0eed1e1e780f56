//! The contenders that write durable records.

mod gather;
mod raw;
mod sqlite;
mod terms;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use amplify_test_support::payload;
pub(crate) use amplify_test_support::stores::StoreKind;
use anyhow::Result;
use bytes::Bytes;
use record_cache::{NewRecord, RecordStore, StreamName};
use serde::{Deserialize, Serialize};

use self::gather::Gather;
use self::sqlite::Journal;
use self::terms::Group;
pub(crate) use self::terms::{KEY, Promise};

/// A store, or something to compare stores with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Contender {
    /// Appends to one file and syncs it: the limit.
    Raw,
    /// SQLite with its defaults, one transaction per record.
    SqliteJournal,
    /// SQLite with a write-ahead log, one transaction per record.
    SqliteWal,
    /// The same, with one transaction for all waiting records.
    SqliteWalGrouped,
    Store(StoreKind),
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

/// Opens a store in a subdirectory of this directory.
pub(crate) async fn open(
    store: StoreKind,
    directory: &Path,
    promise: Promise,
    expected_bytes: u64,
) -> Result<Arc<dyn RecordStore>> {
    let directory = directory.join("store");
    Ok(store
        .open(&directory, promise.into(), expected_bytes)
        .await?)
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
        let sqlite = |journal, group| sqlite::start(directory, promise, journal, group);
        Ok(match contender {
            Contender::Raw => Self::Writer(raw::start(directory, promise)?),
            Contender::SqliteJournal => Self::Writer(sqlite(Journal::AsItComes, Group::One)?),
            Contender::SqliteWal => Self::Writer(sqlite(Journal::WriteAhead, Group::One)?),
            Contender::SqliteWalGrouped => Self::Writer(sqlite(Journal::WriteAhead, Group::All)?),
            Contender::Store(store) => Self::Store {
                store: open(store, directory, promise, expected_bytes).await?,
                stream: stream("bench")?,
            },
        })
    }

    /// Returns when the record is as durable as requested.
    pub(crate) async fn append(&self, data: Bytes) -> Result<()> {
        match self {
            Self::Store { store, stream } => {
                let record = NewRecord::new(stream.clone(), Some(KEY.to_owned()), data);
                Ok(store.append(vec![record]).await?)
            }
            Self::Writer(gather) => gather.append(data).await,
        }
    }

    /// Records per sync, if known.
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

pub(crate) fn stream(name: &str) -> Result<StreamName> {
    Ok(StreamName::new(name)?)
}

/// Incompressible bytes.
pub(crate) fn payload(bytes: u64) -> Result<Bytes> {
    Ok(payload::payload(0, "bench", bytes, usize::try_from(bytes)?).into())
}

/// The data of a record whose key and data have this size.
pub(crate) fn data_of_record(bytes: u64) -> Result<Bytes> {
    payload(bytes.saturating_sub(KEY.len() as u64))
}
