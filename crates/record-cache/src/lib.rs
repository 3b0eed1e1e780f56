#![doc = include_str!("../README.md")]

mod clock;
mod durability;
mod error;
#[cfg(all(feature = "journal", unix))]
#[allow(dead_code, reason = "the stores move over to it")]
mod index;
mod memory;
mod record;
mod store;

#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
#[cfg(any(test, feature = "test-support"))]
mod fault;

pub use self::durability::Durability;
pub use self::error::StoreError;
#[cfg(any(test, feature = "test-support"))]
pub use self::fault::FailAfter;
pub use self::memory::MemoryStore;
pub use self::record::{InvalidStreamName, NewRecord, Record, RecordId, StreamName};
pub use self::store::{
    Amount, QueueStats, ReadBatch, ReadLimits, RecordStore, Settlement, StoreStats,
};
#[cfg(feature = "sled")]
mod sled_store;
#[cfg(feature = "sled")]
pub use self::sled_store::{SledStore, SledStoreBuilder};
#[cfg(all(feature = "journal", unix))]
mod journal_store;
#[cfg(all(feature = "journal", unix))]
pub use self::journal_store::{JournalStore, JournalStoreBuilder, Moved, move_records};
