//! Where a client stores its records: which store, which directory, and which slot among several
//! instances.
//!
//! Belongs here: names of directories, the choice of a store, adoption from other instances. Does
//! not: the contents of a directory, which belong to the store.

mod default_directory;
mod directories;
#[cfg(feature = "sled")]
mod slots;

pub use self::default_directory::DefaultDirectory;
pub use self::directories::{OpenStorage, Storage, StorageError, StorageSettings};
#[cfg(feature = "sled")]
pub use self::slots::Slots;
