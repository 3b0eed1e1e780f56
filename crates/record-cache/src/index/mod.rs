//! Where records lie: for each stream, the places of its records in the log, in order.
//!
//! The log is the truth and an index is derived from it. An index holds no payload, and
//! nothing rests on it: neither durability nor integrity. One that is odd in any way, or that
//! fails, is [`Broken`]: its owner throws it away and builds another from the log.
//!
//! The owner keeps the counters (records and bytes of a stream, live bytes of a segment). An
//! index only says what was there, so that they can be kept: see the results below.
//!
//! # Contract
//! - Sequence numbers are unique over all streams. Within a stream, entries are ordered by
//!   them. `put` of a number that is there replaces the entry: the record was relocated.
//! - What was put is found by every later call, until it is removed.
//! - A call that fails with [`Broken`] leaves an index that only fails from then on.
//! - A call ends within a bounded time, whatever a disk or a database beneath it does.
//! - [`checkpoint`](Index::checkpoint) makes what the index holds at that moment available to
//!   the next opening, as one step: the next opening finds this state or an earlier one or none.

use std::collections::BTreeMap;
use std::fmt::Debug;

pub(crate) mod memory;
pub(crate) mod queue;
pub(crate) mod ranges;
#[cfg(feature = "sled")]
pub(crate) mod sled;

#[cfg(any(test, feature = "journal"))]
use self::memory::MemoryIndex;
use self::queue::Entry;
use self::ranges::Ranges;
use crate::{QueueStats, ReadLimits, StreamName};

/// Places of records, by stream.
pub(crate) trait Index: Debug + Send + 'static {
    /// Adds an entry, or puts it in the place of the one of the same number, which comes back.
    fn put(&mut self, stream: &StreamName, entry: Entry) -> Result<Option<Entry>, Broken>;

    /// Those of the numbers that are there, in order.
    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken>;

    /// Removes the numbers, and hands over each entry that was there.
    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken>;

    /// Raises the attempts of the numbers that are there by one.
    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken>;

    /// The oldest entries behind a number, or of all: as many as the limits allow, and one
    /// at least where there is one.
    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken>;

    /// The streams that have an entry of one of the numbers. Where that cannot be told for
    /// little, streams that have none may be among them.
    fn streams_with(&mut self, numbers: &Ranges) -> Result<Vec<StreamName>, Broken>;

    /// Removes everything.
    fn clear(&mut self) -> Result<(), Broken>;

    /// Whether a checkpoint now would free memory, or spare the next opening much work.
    fn wants_checkpoint(&self) -> bool;

    /// Keeps the present state for the next opening, together with `at`.
    ///
    /// It need not survive a loss of power, nor the end of the process.
    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken>;

    /// Writes out what is not written yet, and lets go of files.
    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken>;
}

/// Begins the name of a directory in which an index has files; its number follows.
pub(crate) const DIRECTORY_PREFIX: &str = "index-";

/// The number in the name of such a directory.
pub(crate) fn directory_number(name: &str) -> Option<u64> {
    name.strip_prefix(DIRECTORY_PREFIX)?.parse().ok()
}

/// Where indexes come from: one kind for a store.
pub(crate) trait Indexes: Debug + Send + 'static {
    /// Whether they have files in the directory of the cache.
    fn keep_files(&self) -> bool;

    /// What an earlier opening left, or an empty one.
    fn open(&mut self) -> Result<Found, Broken>;

    /// An empty one in the place of one that broke; nothing when this kind is to be left alone.
    fn fresh(&mut self) -> Option<Box<dyn Index>>;
}

/// An index as an opening finds it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) index: Box<dyn Index>,
    /// How far it speaks, and what it holds of each stream; nothing of an empty one.
    pub(crate) kept: Option<Restored>,
}

/// A checkpoint, and what each stream held then.
pub(crate) type Restored = (Checkpoint, BTreeMap<StreamName, QueueStats>);

/// Makes indexes in memory.
#[cfg(any(test, feature = "journal"))]
#[derive(Debug)]
pub(crate) struct InMemory;

#[cfg(any(test, feature = "journal"))]
impl Indexes for InMemory {
    fn keep_files(&self) -> bool {
        false
    }

    fn open(&mut self) -> Result<Found, Broken> {
        let index = Box::new(MemoryIndex::default());
        Ok(Found { index, kept: None })
    }

    fn fresh(&mut self) -> Option<Box<dyn Index>> {
        Some(Box::new(MemoryIndex::default()))
    }
}

/// How far into the log an index speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The store that the log belongs to.
    pub(crate) salt: u64,
    /// All frames before this place are accounted for, and none behind it.
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Checksum of the last frame's header before that place: another log has another one.
    pub(crate) last_frame: u32,
    /// The number that the next record will get.
    pub(crate) next_sequence: u64,
    /// Segments that hold records, with how many and the bytes of their frames.
    pub(crate) segments: Vec<(u32, u64, u64)>,
}

/// An index that cannot be used any more, and why, in words for a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);
