//! Where records are: for each stream, the positions of its records in the log, in order.
//!
//! The log is the truth, and an index is derived from it. An index holds no payload, and neither
//! durability nor integrity depends on it. An index that fails or is inconsistent in any way is
//! [`Broken`]: its owner throws it away and rebuilds it from the log.
//!
//! The owner keeps the counters (records and bytes of a stream, live bytes of a segment). An index
//! only returns what they need: see the results below.
//!
//! # Contract
//! - Sequence numbers are unique over all streams. Within a stream, entries are ordered by them.
//!   `put` of an existing number replaces the entry: the record was relocated.
//! - Every later call finds what was put, until it is removed.
//! - A call that fails with [`Broken`] leaves an index that only fails from then on.
//! - A call ends within a bounded time, whatever the disk or database does.
//! - [`checkpoint`](Index::checkpoint) makes what the index holds at that moment available to
//!   the next opening, as one step: the next opening finds this state or an earlier one or none.

use std::collections::BTreeMap;
use std::fmt::Debug;

mod maker;
#[cfg_attr(
    not(feature = "sled"),
    expect(dead_code, reason = "it pages to a database only")
)]
pub(crate) mod paged;
pub(crate) mod ranges;
pub(crate) mod varint;

pub(crate) use self::maker::Maker;
use self::ranges::Ranges;
use crate::{QueueStats, ReadLimits, StreamName};

/// The position of one record: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) segment: u32,
    /// Where its frame is, in terms of the log.
    pub(crate) place: u32,
    /// Bytes of key and payload.
    pub(crate) size: u32,
    pub(crate) attempts: u32,
}

const _: () = assert!(size_of::<Entry>() == 24, "as documented");

/// Places of records, by stream.
pub(crate) trait Index: Debug + Send + 'static {
    /// Adds an entry. Returns the entry that it replaces, if one has the same number.
    fn put(&mut self, stream: &StreamName, entry: Entry) -> Result<Option<Entry>, Broken>;

    /// The entries with these numbers, in order.
    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken>;

    /// Removes the numbers, and passes on each entry that existed.
    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken>;

    /// Increments the attempts of the numbers that exist.
    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken>;

    /// The oldest entries after a number, or of all: as many as the limits allow, and at least one
    /// if there is any.
    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken>;

    /// Removes everything.
    fn clear(&mut self) -> Result<(), Broken>;

    /// Frees memory if much of it is in use, at the cost of the last checkpoint: for when a log is
    /// read, and there can be none.
    fn relieve(&mut self) -> Result<(), Broken>;

    /// Whether a checkpoint now would free memory, or save the next opening much work.
    fn wants_checkpoint(&self) -> bool;

    /// Keeps the current state for the next opening, together with `at`.
    ///
    /// It need not survive a power loss or the end of the process.
    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken>;

    /// Writes what is not written yet, and closes files.
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

    /// The index that an earlier opening left, or an empty one.
    fn open(&mut self) -> Found;

    /// An empty index to replace a broken one; `None` if this kind should not be used again.
    fn fresh(&mut self) -> Option<Box<dyn Index>>;
}

/// An index as found when opening.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) index: Box<dyn Index>,
    /// How far it covers the log, and what it holds of each stream; `None` for an empty one.
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
    /// Checksum of the last frame header before that offset, which distinguishes logs.
    pub(crate) last_frame: u32,
    /// The number that the next record will get.
    pub(crate) next_sequence: u64,
    /// Segments that hold records, with how many and the bytes of their frames.
    pub(crate) segments: Vec<(u32, u64, u64)>,
}

/// An index that is no longer usable, and the reason, for a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);
