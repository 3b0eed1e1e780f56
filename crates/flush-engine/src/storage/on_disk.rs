//! The stores on disk. They share one format: each can open what the other wrote.

use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{Durability, RecordStore, StoreError};

/// Which store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDisk {
    #[cfg(feature = "sled")]
    Sled,
    #[cfg(feature = "journal")]
    Journal,
}

impl OnDisk {
    /// The default store.
    #[cfg(feature = "sled")]
    pub(crate) const USUAL: Self = Self::Sled;
    /// The only store built in.
    #[cfg(not(feature = "sled"))]
    pub(crate) const USUAL: Self = Self::Journal;

    pub(crate) async fn open(
        self,
        path: PathBuf,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<Arc<dyn RecordStore>, StoreError> {
        Ok(match self {
            #[cfg(feature = "sled")]
            Self::Sled => {
                let builder = record_cache::SledStore::builder(path).durability(durability);
                Arc::new(builder.expected_bytes(cache_max_bytes).open().await?)
            }
            #[cfg(feature = "journal")]
            Self::Journal => {
                let builder = record_cache::JournalStore::builder(path).durability(durability);
                Arc::new(builder.expected_bytes(cache_max_bytes).open().await?)
            }
        })
    }
}
