//! Where a client keeps its records: which store, which directory, which slot of several
//! instances.
//!
//! May be touched here: names of directories, the choice of a store, what is taken over from
//! other instances. Not here: what is in a directory (that is the store's).

mod default_directory;
mod directories;
#[cfg(any(feature = "sled", feature = "journal"))]
mod on_disk;
#[cfg(any(feature = "sled", feature = "journal"))]
mod slots;

pub use self::default_directory::DefaultDirectory;
pub use self::directories::{OpenStorage, Storage, StorageError, StorageSettings};
#[cfg(any(feature = "sled", feature = "journal"))]
pub use self::slots::Slots;
