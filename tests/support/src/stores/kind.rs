//! The kinds of stores, by name.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use record_cache::{Durability, JournalStore, MemoryStore, RecordStore, SledStore, StoreError};
use serde::{Deserialize, Serialize};

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StoreKind {
    /// In memory.
    Memory,
    /// On disk, indexed by sled once the backlog exceeds the index in memory.
    Sled,
    /// The same, with so little in memory that nearly all of the index is in sled.
    TinySled,
    /// On disk, indexed in memory.
    Journal,
}

impl StoreKind {
    /// All kinds.
    pub const EACH: [Self; 4] = [Self::Memory, Self::Sled, Self::TinySled, Self::Journal];
    /// The kinds that programs should choose from.
    pub const USUAL: [Self; 3] = [Self::Memory, Self::Sled, Self::Journal];
    /// The kinds that keep records on disk.
    pub const DURABLE: [Self; 2] = [Self::Sled, Self::Journal];

    /// Opens a store in this directory, and creates the directory if needed.
    ///
    /// # Errors
    /// The error of the store.
    pub async fn open(
        self,
        directory: &Path,
        durability: Durability,
        expected_bytes: u64,
    ) -> Result<Arc<dyn RecordStore>, StoreError> {
        macro_rules! open {
            ($builder:expr) => {{
                let builder = $builder
                    .durability(durability)
                    .expected_bytes(expected_bytes);
                Arc::new(builder.open().await?)
            }};
        }
        Ok(match self {
            Self::Memory => Arc::new(MemoryStore::new()),
            Self::Sled => open!(SledStore::builder(directory)),
            Self::TinySled => open!(SledStore::builder(directory).records_in_memory(8)),
            Self::Journal => open!(JournalStore::builder(directory)),
        })
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::TinySled => "tiny-sled",
            Self::Journal => "journal",
        })
    }
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::EACH.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| format!("no such store: {name}"))
    }
}
