#![doc = include_str!("../README.md")]

mod clock;
mod counters;
#[cfg(any(feature = "sled", feature = "journal"))]
mod disk;
mod durability;
mod error;
#[cfg(any(feature = "sled", feature = "journal"))]
mod index;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
mod indexed_db;
#[cfg(feature = "inspect")]
pub mod inspect;
#[cfg(feature = "journal")]
mod journal_store;
#[cfg(any(feature = "sled", feature = "journal"))]
mod log;
mod memory;
mod record;
#[cfg(feature = "sled")]
mod sled_store;
mod store;

#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
#[cfg(any(test, feature = "test-support"))]
mod fault;

#[cfg(any(feature = "sled", feature = "journal"))]
pub use self::disk::{check_directory, holds_nothing};
pub use self::durability::Durability;
pub use self::error::StoreError;
#[cfg(any(test, feature = "test-support"))]
pub use self::fault::FailAfter;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub use self::indexed_db::{IndexedDbStore, IndexedDbStoreBuilder};
#[cfg(feature = "journal")]
pub use self::journal_store::{JournalStore, JournalStoreBuilder};
pub use self::memory::MemoryStore;
pub use self::record::{InvalidStreamName, NewRecord, Record, RecordId, StreamName};
#[cfg(feature = "sled")]
pub use self::sled_store::{SledStore, SledStoreBuilder};
pub use self::store::{
    Amount, QueueStats, ReadBatch, ReadLimits, RecordStore, Settlement, StoreStats,
};
