//! What a database holds, read once as it is opened.

use std::collections::BTreeMap;

use super::block::{self, Block, Entries, Key};
use super::checkpoint::{self, Totals};
use super::contained::Outcome;
use super::database::{Database, describe};
use super::directory::Stream;
use crate::index::Checkpoint;
use crate::{QueueStats, StreamName};

/// The contents of a database.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) streams: BTreeMap<StreamName, Stream>,
    pub(super) stats: BTreeMap<StreamName, QueueStats>,
    pub(super) totals: Totals,
    pub(super) next_stream: u64,
    /// Values that the checkpoint takes.
    pub(super) parts: u16,
}

impl Found {
    /// Reads everything once: a sled that is damaged may open without an error and lack a part.
    pub(super) fn load(database: &Database) -> Outcome<(Checkpoint, Self)> {
        let mut found = Self::default();
        let mut record = Vec::new();
        for entry in database.sled.scan_prefix(&checkpoint::key(0)[..1]) {
            record.extend_from_slice(&entry.map_err(describe)?.1);
            found.parts += 1;
        }
        if record.is_empty() {
            return Err("it has no checkpoint".to_owned());
        }
        let (checkpoint, totals) =
            checkpoint::decode(&record).ok_or("its checkpoint is unreadable")?;
        for entry in database.sled.scan_prefix([Key::PREFIX]) {
            let (key, value) = entry.map_err(describe)?;
            found.take(&key, &value).ok_or("a block is unreadable")?;
            database.age(&key, &value)?;
            database.progress.beat();
        }
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
        stats.records += header.count as usize;
        stats.bytes += header.bytes;
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
