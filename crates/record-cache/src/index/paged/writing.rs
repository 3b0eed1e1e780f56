//! Moves entries from memory to the database and back.

use super::PagedIndex;
use super::checkpoint::{self, Totals};
use super::database::{Changes, Database};
use super::directory::Stream;
use super::pages::remove_checkpoint;
use super::worker::Worker;
use crate::index::{Broken, Checkpoint};

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
            self.pages.write_part(&mut changes, &mut self.parts)?;
        }
        for (name, stream) in &mut self.streams {
            stream.write(name, &mut self.pages, &mut changes);
            self.pages.write_part(&mut changes, &mut self.parts)?;
        }
        let Some(at) = at else {
            remove_checkpoint(&mut changes, &mut self.parts);
            return self.pages.write_out(changes, false);
        };
        let record = checkpoint::encode(at, self.pages.totals);
        let parts = u16::try_from(record.len()).unwrap_or(u16::MAX);
        let surplus = (parts..self.parts).map(checkpoint::key);
        changes.extend(surplus.map(|key| (key.to_vec(), None)));
        for (key, value) in record {
            changes.push((key.to_vec(), Some(value)));
        }
        (self.parts, self.pages.changes) = (parts, 0);
        self.pages.write_out(changes, true)
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

    fn create(&mut self) -> Result<(), Broken> {
        let mut worker = Worker::start(&self.settings)?;
        let home = self.home.clone();
        worker.run(move |database, progress| {
            *database = Some(Database::create(&home, progress)?);
            Ok(())
        })?;
        self.pages.worker = Some(worker);
        Ok(())
    }

    /// Whether the database is no longer worth its disk space.
    pub(super) fn is_small(&self) -> bool {
        self.pages.counts.all <= self.pages.budget / 4
    }

    /// Loads everything back into memory.
    fn reclaim(&mut self) -> Result<(), Broken> {
        for stream in self.streams.values_mut() {
            stream.reclaim(&mut self.pages)?;
        }
        self.discard()
    }

    /// Deletes the database, which is no longer needed.
    pub(super) fn discard(&mut self) -> Result<(), Broken> {
        self.pages.await_checkpoint()?;
        if let Some(worker) = self.pages.worker.take() {
            worker.end(Database::delete)?;
        }
        self.pages.totals = Totals::default();
        self.pages.gone.clear();
        (self.parts, self.pages.changes) = (0, 0);
        Ok(())
    }
}
