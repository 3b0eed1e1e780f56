//! The log: everything a store keeps, in segments that are only appended to.
//!
//! A segment is a file of frames. A frame is a record, a settlement or what else happened, with
//! checksums that bind it to its place. The log is the truth: durability and integrity rest on
//! it alone, and an index of where records lie is derived from it ([`crate::index`]).
//!
//! - [`end`] writes groups of frames at the end, syncs, and begins segments. [`group`] encodes,
//!   [`outline`] keeps what an opening needs of the frames and writes it behind them.
//! - [`open`] finds how far the log goes and continues it; [`replay`] reads its frames into a
//!   [`catalog`], by way of [`scan`] or of outlines. [`rebuild`] does so for a running store.
//! - [`fetch`] reads records back; [`contents`] lists those of a segment.
//!
//! # Invariants
//! - What was acknowledged lies before the end that the next segment's header states, or, in
//!   the last one, before the end of its whole calls.
//! - Only the oldest segment is ever deleted, so what settles a record outlives the record.
//! - A number is given out once, whatever becomes of its record.

pub(crate) mod buffers;
pub(crate) mod catalog;
pub(crate) mod contents;
pub(crate) mod counters;
pub(crate) mod directory;
pub(crate) mod end;
pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod open;
pub(crate) mod outline;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod reserve;
pub(crate) mod scan;

use std::io;

use crate::StoreError;
use crate::index::Broken;

/// Why a log could not be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The disk refused.
    Disk(io::Error),
    /// The store cannot be opened, for a reason that words were found for.
    Store(StoreError),
    /// The index failed, or is not of this log.
    Index(Broken),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Index(broken)
    }
}
