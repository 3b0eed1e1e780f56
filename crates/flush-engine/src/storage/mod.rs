//! Where a client stores its records: which store, which directory, and which slot among several
//! instances.
//!
//! In scope: directory names, the choice of a store, adoption from other instances. Out of scope:
//! the contents of a directory, which belong to the store.

mod default_directory;
mod directories;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
mod in_browser;
#[cfg(any(feature = "sled", feature = "journal"))]
mod on_disk;
#[cfg(any(feature = "sled", feature = "journal"))]
mod slots;

pub use self::default_directory::DefaultDirectory;
pub use self::directories::{OpenStorage, Storage, StorageError, StoragePlace, StorageSettings};
#[cfg(any(feature = "sled", feature = "journal"))]
pub use self::slots::Slots;
