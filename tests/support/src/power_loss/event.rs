//! Events that change files, in order.

use std::ffi::OsString;

use bytes::Bytes;

use super::Image;

/// A file or directory, whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub(super) u64);

/// Identifies an operation in a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(super) u64);

/// One step of a timeline.
#[derive(Debug, Clone)]
pub enum Event {
    /// A file or directory was created, without a name yet.
    Created {
        /// The new inode.
        inode: Inode,
        /// Whether it is a directory.
        is_directory: bool,
    },
    /// A call was made. Its effect may be visible from now on.
    Begin(OperationId, Action),
    /// The call returned.
    End(OperationId),
    /// A report of the process.
    Mark(String),
    /// The process ended, and the system kept running.
    Killed,
    /// The power was lost, and these files remain.
    PowerLost(Image),
}

/// The action of a call.
#[derive(Debug, Clone)]
pub enum Action {
    /// Changes files.
    Change(Change),
    /// Makes the data of a file durable.
    SyncData(Inode),
    /// Makes a file or the names in a directory durable.
    SyncAll(Inode),
    /// Makes everything durable.
    SyncSystem,
}

/// A change of files.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes bytes.
    Write {
        /// The file written to.
        file: Inode,
        /// The offset of the first byte.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// Whether the file grows.
        extends: bool,
        /// Whether the call returns only once the write is durable.
        synchronous: bool,
    },
    /// Truncates the file or extends it with zeros.
    SetLength {
        /// The file.
        file: Inode,
        /// The new length.
        length: u64,
    },
    /// Adds and removes names, all in one step.
    Rename(Vec<NameChange>),
}

/// A change of a name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// The directory.
    pub directory: Inode,
    /// The name in the directory.
    pub name: OsString,
    /// The new target of the name, if any.
    pub target: Option<Inode>,
}
