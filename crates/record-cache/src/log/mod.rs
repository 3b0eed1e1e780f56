//! The log: everything a store keeps, in append-only segments.
//!
//! A segment is a file of frames. A frame holds a record, a settlement or another event, with
//! checksums that bind it to its position. The log is the source of truth: it alone provides
//! durability and integrity, and the index of record positions is derived from it
//! ([`crate::index`]).
//!
//! - [`end`] writes groups of frames at the end of the log, syncs them, and begins segments.
//!   [`group`] encodes frames. [`outline`] collects what opening needs to know about them, and
//!   writes it after them.
//! - [`open`] finds the end of the log and continues it. [`replay`] reads frames into a
//!   [`catalog`], using [`scan`] or outlines; [`rebuild`](replay::rebuild) does so for a
//!   running store.
//! - [`fetch`] reads records back; a [`Segment`](catalog::Segment) lists its records.
//!
//! # Invariants
//! - Acknowledged data lies before the end stated by the next segment's header or, in the last
//!   segment, before the end of its complete calls.
//! - Only the oldest segment is ever deleted, so a settlement outlives its records.
//! - A sequence number is assigned only once, whatever happens to its record.

pub(crate) mod buffers;
pub(crate) mod catalog;
pub(crate) mod directory;
pub(crate) mod end;
pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod open;
pub(crate) mod outline;
pub(crate) mod replay;
pub(crate) mod reserve;
pub(crate) mod scan;
pub(crate) mod step;

use std::io;

use crate::StoreError;
use crate::index::Broken;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Failure {
    /// The disk reported an error.
    Disk(#[from] io::Error),
    /// The store cannot be opened, for a reason the caller can act on.
    Store(#[from] StoreError),
    /// The index failed, or belongs to a different log.
    Index(#[from] Broken),
}
