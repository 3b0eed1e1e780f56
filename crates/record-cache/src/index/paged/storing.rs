//! What the database holds of an index: written at checkpoints, read once at an open.

use std::collections::BTreeMap;
use std::path::Path;

use super::block::{self, Key, Stored};
use super::checkpoint::{self, Totals};
use super::database::{self, Database};
use super::directory::Stream;
use super::pages::{Changes, Pages};
use super::worker::{Outcome, Worker};
use super::{IndexSettings, PagedIndex};
use crate::index::{Broken, Checkpoint, Restored};
use crate::{QueueStats, StreamName};

/// How many blocks to load at once for merging.
const JOINED_AT_ONCE: usize = 1_000;

impl PagedIndex {
    /// Writes a checkpoint or, without a position in the log, only the entries that must leave
    /// memory.
    pub(super) fn write(&mut self, at: Option<&Checkpoint>) -> Result<(), Broken> {
        if self.pages.worker.is_none() {
            if self.pages.counts.all <= self.pages.budget {
                return Ok(());
            }
            self.create()?;
        } else if self.is_small() {
            return self.reclaim();
        }
        self.join_short_blocks()?;
        let mut changes = Changes::default();
        for key in std::mem::take(&mut self.pages.gone) {
            changes.push((key.bytes().to_vec(), None));
            self.pages.write_part(&mut changes)?;
        }
        let mut totals = Totals::default();
        for (name, stream) in &mut self.streams {
            stream.write(name, &mut self.pages, &mut changes, &mut totals);
            self.pages.write_part(&mut changes)?;
        }
        self.pages.remove_checkpoint(&mut changes);
        if let Some(at) = at {
            for (key, value) in checkpoint::encode(at, totals) {
                changes.push((key.to_vec(), Some(value)));
                self.pages.parts += 1;
            }
            self.pages.changes = 0;
        }
        self.pages.write_out(changes, at.map(|_| totals.bytes))
    }

    fn join_short_blocks(&mut self) -> Result<(), Broken> {
        let streams = self.streams.values_mut();
        let mut short: Vec<&mut Stream> = streams.filter(|s| s.short().is_some()).collect();
        for streams in short.chunks_mut(JOINED_AT_ONCE) {
            let keys = streams.iter().filter_map(|stream| stream.short());
            let fetched = self.pages.fetch(keys.collect())?;
            for (stream, entries) in streams.iter_mut().zip(fetched) {
                stream.join(entries, &mut self.pages);
            }
        }
        Ok(())
    }

    /// Creates a database and deletes all others.
    fn create(&mut self) -> Result<(), Broken> {
        let mut worker = Worker::start(self.settings.clone())?;
        let home = self.home.clone();
        worker.run(move |opened, progress| {
            let database = opened.insert(Database::create(&home, progress)?);
            database::delete_others(&home, Some(database.number));
            Ok(())
        })?;
        self.pages.worker = Some(worker);
        Ok(())
    }

    /// Whether the database is no longer worth its disk space.
    pub(super) fn is_small(&self) -> bool {
        self.pages.counts.all <= self.pages.budget / 4
    }

    /// Loads everything back into memory, and deletes the database.
    fn reclaim(&mut self) -> Result<(), Broken> {
        let pages = &mut self.pages;
        for stream in self.streams.values_mut() {
            for at in 0..stream.blocks.len() {
                let block = pages.load(stream.number, &mut stream.blocks, at, usize::MAX)?;
                if let Some(block) = block {
                    pages.edit(block, |block| (block.stored, block.changed) = (None, true));
                }
            }
        }
        self.discard()
    }

    /// Deletes the database, which is no longer needed.
    pub(super) fn discard(&mut self) -> Result<(), Broken> {
        if let Some(worker) = self.pages.worker.take() {
            worker.end(Database::delete)?;
        }
        let Pages { budget, counts, .. } = self.pages;
        self.pages = Pages {
            budget,
            counts,
            ..Pages::default()
        };
        Ok(())
    }

    /// Opens a database at its checkpoint.
    pub(super) fn restore(
        home: &Path,
        settings: &IndexSettings,
        number: u64,
    ) -> Result<(Self, Restored), Broken> {
        let mut index = Self::empty(home, settings.clone());
        let mut worker = Worker::start(settings.clone())?;
        let (mut index, restored) = worker.run(move |opened, progress| {
            let database = opened.insert(Database::open(&index.home, number, progress)?);
            let restored = index.load(database)?;
            Ok((index, restored))
        })?;
        index.pages.worker = Some(worker);
        Ok((index, restored))
    }

    /// Reads everything once: a damaged sled database may open without an error and lack some data.
    fn load(&mut self, database: &Database) -> Outcome<Restored> {
        let mut stats = BTreeMap::new();
        let (mut record, mut totals) = (Vec::new(), Totals::default());
        database.scan(|key, value| {
            if checkpoint::is_part(key) {
                record.extend_from_slice(value);
                self.pages.parts += 1;
                return Ok(());
            }
            let loaded = self.load_block(key, value, &mut stats);
            totals.add(loaded.ok_or("a block is unreadable")?);
            Ok(())
        })?;
        if record.is_empty() {
            return Err("it has no checkpoint".to_owned());
        }
        let (checkpoint, expected) =
            checkpoint::decode(&record).ok_or("its checkpoint is unreadable")?;
        if totals != expected {
            return Err("blocks are missing".to_owned());
        }
        self.pages.budget = self.settings.budget(self.streams.len());
        Ok((checkpoint, stats))
    }

    fn load_block(
        &mut self,
        key: &[u8],
        value: &[u8],
        stats: &mut BTreeMap<StreamName, QueueStats>,
    ) -> Option<Stored> {
        let key = Key::parse(key)?;
        let header = block::header(key, value)?;
        let name = StreamName::new(header.name).ok()?;
        let stats = stats.entry(name.clone()).or_default();
        *stats += QueueStats::new(header.block.count(), header.bytes);
        self.next_stream = self.next_stream.max(key.stream + 1);
        let stream = self.streams.entry(name);
        let stream = stream.or_insert_with(|| Stream::new(key.stream));
        let block = header.block;
        let follows = stream.blocks.back().is_none_or(|b| b.last < block.start);
        let is_sound = key.stream == stream.number && block.start <= block.last;
        if !follows || !is_sound || block.count() == 0 {
            return None;
        }
        let stored = block.stored;
        stream.blocks.push_back(self.pages.adopt(block));
        stored
    }
}
