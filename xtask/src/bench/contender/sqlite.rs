//! SQLite, with a table like those of mobile clients.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use rusqlite::{Connection, params};

use super::gather::Gather;
use super::terms::{Group, KEY, Promise};

const TABLE: &str = "CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_name TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    data BLOB NOT NULL,
    data_size INTEGER NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
)";
const INSERT: &str = "INSERT INTO records (stream_name, partition_key, data, data_size, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5)";

/// How SQLite makes transactions atomic.
#[derive(Debug, Clone, Copy)]
pub(super) enum Journal {
    /// A rollback journal, synced in full.
    AsItComes,
    WriteAhead,
}

pub(super) fn start(
    directory: &Path,
    promise: Promise,
    journal: Journal,
    group: Group,
) -> Result<Arc<Gather>> {
    let connection = Connection::open(directory.join("sqlite"))?;
    if let Journal::WriteAhead = journal {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match promise {
            Promise::PowerLoss => "FULL",
            // Commits are not synced: they survive a process crash, not a machine crash.
            Promise::ProcessCrash => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
    }
    connection.execute_batch(TABLE)?;
    Gather::start(group, move |gather| {
        let mut created_at = 1_700_000_000_000_i64;
        let mut statement = connection.prepare(INSERT)?;
        let mut insert = |data: &Bytes| {
            created_at += 1;
            let size = i64::try_from(data.len())?;
            statement.execute(params!["bench", KEY, data.as_ref(), size, created_at])?;
            anyhow::Ok(())
        };
        gather.serve(|records| match records {
            [record] => insert(record),
            _ => {
                connection.execute_batch("BEGIN")?;
                records.iter().try_for_each(&mut insert)?;
                Ok(connection.execute_batch("COMMIT")?)
            }
        })
    })
}
