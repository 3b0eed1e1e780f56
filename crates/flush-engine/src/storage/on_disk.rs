//! The stores on disk, which keep one format: either opens what the other left.

use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{Durability, RecordStore, StoreError};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDisk {
    #[cfg(feature = "sled")]
    Sled,
    #[cfg(feature = "journal")]
    Journal,
}

impl OnDisk {
    /// The one that is taken unless another is asked for.
    #[cfg(feature = "sled")]
    pub(crate) const USUAL: Self = Self::Sled;
    /// The one that there is.
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
