//! The contents of a database, read once when it is opened.

use std::collections::BTreeMap;

use super::block::{self, Block, Entries, Key};
use super::checkpoint::{self, Totals};
use super::database::Database;
use super::directory::Stream;
use super::worker::Outcome;
use crate::index::Checkpoint;
use crate::{QueueStats, StreamName};

/// The contents of a database.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) streams: BTreeMap<StreamName, Stream>,
    pub(super) stats: BTreeMap<StreamName, QueueStats>,
    pub(super) totals: Totals,
    pub(super) next_stream: u64,
    /// The number of values in the checkpoint.
    pub(super) parts: u16,
}

impl Found {
    /// Reads everything once: a damaged sled database may open without an error and lack some data.
    pub(super) fn load(database: &Database) -> Outcome<(Checkpoint, Self)> {
        let mut found = Self::default();
        let mut record = Vec::new();
        let mut parts = 0;
        database.scan(&checkpoint::key(0)[..1], |_, value| {
            record.extend_from_slice(value);
            parts += 1;
            Ok(())
        })?;
        found.parts = parts;
        if record.is_empty() {
            return Err("it has no checkpoint".to_owned());
        }
        let (checkpoint, totals) =
            checkpoint::decode(&record).ok_or("its checkpoint is unreadable")?;
        database.scan(&[Key::PREFIX], |key, value| {
            let taken = found.take(key, value);
            taken.ok_or_else(|| "a block is unreadable".to_owned())
        })?;
        if found.totals != totals {
            return Err("blocks are missing".to_owned());
        }
        Ok((checkpoint, found))
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let key = Key::parse(key)?;
        let header = block::header(key, value)?;
        self.totals.add(header.stored);
        let name = StreamName::new(header.name).ok()?;
        let stats = self.stats.entry(name.clone()).or_default();
        *stats += QueueStats::new(header.count as usize, header.bytes);
        let stream = self.streams.entry(name);
        let stream = stream.or_insert_with(|| Stream::new(key.stream));
        self.next_stream = self.next_stream.max(key.stream + 1);
        stream.push_stored(
            key,
            Block {
                start: key.start,
                last: header.last,
                entries: Entries::Out(header.count),
                stored: Some(header.stored),
                used: 0,
                changed: false,
            },
        )
    }
}
