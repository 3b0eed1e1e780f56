//! The positions of records: for each stream, where its records are in the log, in order.
//!
//! The log is the source of truth, and an index is derived from it. An index holds no payloads, and
//! neither durability nor integrity depends on it. An index that fails or is inconsistent in any
//! way is [`Broken`]: its owner discards it and rebuilds it from the log.
//!
//! The owner keeps the counters (records and bytes per stream, live bytes per segment). An index
//! only returns what those need.
//!
//! # Contract
//! - Sequence numbers are unique across all streams. Within a stream, entries are ordered by them.
//!   `put` with an existing number replaces the entry: the record was relocated.
//! - Every later call finds an entry that was put, until it is removed.
//! - Once a call has failed with [`Broken`], all later calls fail.
//! - A call ends within a bounded time, whatever the disk or database does.
//! - [`checkpoint`](Index::checkpoint) atomically makes the index's current contents available to
//!   the next open, which finds this state, an earlier one, or none.

use std::collections::BTreeMap;
use std::fmt::Debug;

mod maker;
pub(crate) mod paged;
pub(crate) mod ranges;
pub(crate) mod varint;

pub(crate) use self::maker::Maker;
use self::ranges::Ranges;
use crate::{QueueStats, ReadLimits, StreamName};

/// The position of one record: 24 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) segment: u32,
    /// The position of its frame, as encoded by the log.
    pub(crate) place: u32,
    /// Bytes of key and payload.
    pub(crate) size: u32,
    pub(crate) attempts: u32,
}

const _: () = assert!(size_of::<Entry>() == 24, "as documented");

/// The positions of records, by stream.
pub(crate) trait Index: Debug + Send + 'static {
    /// Adds entries, and passes on each that was replaced, because it has the same number as one of
    /// them.
    fn put(
        &mut self,
        stream: &StreamName,
        entries: &[Entry],
        replaced: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken>;

    /// The entries with these numbers, in order.
    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken>;

    /// Removes the numbers, and passes on each entry that existed.
    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken>;

    /// Increments the attempts of those numbers that exist.
    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken>;

    /// The oldest entries, or the oldest after a number: as many as the limits allow, and at least
    /// one if there is any.
    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken>;

    /// Removes everything.
    fn clear(&mut self) -> Result<(), Broken>;

    /// Frees memory if much is in use, at the cost of the last checkpoint. Used while a log is
    /// being read, when no checkpoint is possible.
    fn relieve(&mut self) -> Result<(), Broken>;

    /// Whether a checkpoint now would free memory or save the next open much work.
    fn wants_checkpoint(&self) -> bool;

    /// Saves the current state for the next open, together with `at`.
    ///
    /// The state need not survive a power loss or the end of the process.
    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken>;

    /// Writes what has not been written, and closes files.
    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken>;
}

/// The prefix of an index directory's name, followed by its number.
pub(crate) const DIRECTORY_PREFIX: &str = "index-";

/// The number in the name of an index directory.
pub(crate) fn directory_number(name: &str) -> Option<u64> {
    name.strip_prefix(DIRECTORY_PREFIX)?.parse().ok()
}

/// Creates the indexes of a store, all of one kind.
pub(crate) trait Indexes: Debug + Send + 'static {
    /// Whether the indexes keep files in the cache's directory.
    fn keep_files(&self) -> bool;

    /// The index left by an earlier open, or an empty one.
    fn open(&mut self) -> Found;

    /// An empty index to replace a broken one. If several break, one that cannot.
    fn fresh(&mut self) -> Box<dyn Index>;
}

/// An index as found when opening.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) index: Box<dyn Index>,
    /// How far it covers the log and what it holds of each stream. `None` for an empty index.
    pub(crate) kept: Option<Restored>,
}

/// A checkpoint, and the contents of each stream at that time.
pub(crate) type Restored = (Checkpoint, BTreeMap<StreamName, QueueStats>);

/// How much of the log an index covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The store that the log belongs to.
    pub(crate) salt: u64,
    /// Covers all frames before this offset, and none after it.
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// The checksum of the last frame header before that offset, which distinguishes logs.
    pub(crate) last_frame: u32,
    /// The sequence number of the next record.
    pub(crate) next_sequence: u64,
    /// Segments that hold records: number, record count, and bytes of their frames.
    pub(crate) segments: Vec<(u32, u64, u64)>,
}

/// The reason why an index is no longer usable, for the log output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);
