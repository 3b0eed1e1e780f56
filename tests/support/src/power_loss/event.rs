//! What happens to files, one step after the other.

use std::ffi::OsString;

use bytes::Bytes;

use super::Image;

/// A file or a directory, whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub(super) u64);

/// Tells the operations of a timeline apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(super) u64);

/// One step of a timeline.
#[derive(Debug, Clone)]
pub enum Event {
    /// A file or directory came to be, without a name yet.
    Created {
        /// Which.
        inode: Inode,
        /// What it is.
        is_directory: bool,
    },
    /// A call was made; from here on its effect may be seen.
    Begin(Operation),
    /// The call returned.
    End(OperationId),
    /// What the process had to say.
    Mark(String),
    /// The process ended; the system goes on.
    Killed,
    /// The system ended, and this is what it left.
    PowerLost(Image),
}

/// A call that changes files, or makes changes durable.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// What it does.
    pub action: Action,
}

/// What a call does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Writes bytes.
    Write {
        /// Where to.
        file: Inode,
        /// From which byte on.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// Whether the file becomes longer.
        extends: bool,
        /// Whether the call returns only when it is durable.
        synchronous: bool,
    },
    /// Cuts the file off or fills it up with zeros.
    SetLength {
        /// Which file.
        file: Inode,
        /// How long it is from now on.
        length: u64,
    },
    /// Gives and takes names, all in one step.
    Rename(Vec<NameChange>),
    /// Makes what was written to a file durable.
    SyncData(Inode),
    /// Makes a file or the names in a directory durable.
    SyncAll(Inode),
    /// Makes everything durable.
    SyncSystem,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// The directory.
    pub directory: Inode,
    /// The name in it.
    pub name: OsString,
    /// What it stands for from now on.
    pub target: Option<Inode>,
}
