//! The stores that lose power.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use record_cache::{Durability, JournalStore, RecordStore, SledStore, StoreError};

use super::tiny::{Flaw, TinyStore};

/// Small, so that few records are enough to make the store tidy up.
const EXPECTED_BYTES: u64 = 1024 * 1024;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Sled,
    Journal,
    Tiny(Flaw),
}

impl StoreKind {
    pub const EACH: &[Self] = &[
        Self::Sled,
        Self::Journal,
        Self::Tiny(Flaw::None),
        Self::Tiny(Flaw::NeverSyncs),
        Self::Tiny(Flaw::ForgetsTheNewName),
        Self::Tiny(Flaw::ForgetsTheNewLog),
        Self::Tiny(Flaw::RewritesInPlace),
        Self::Tiny(Flaw::ForgetsTheFirstName),
        Self::Tiny(Flaw::TrustsWhatItReads),
    ];

    pub async fn open(self, place: &Path) -> Result<Arc<dyn RecordStore>, StoreError> {
        Ok(match self {
            Self::Sled => {
                let builder = SledStore::builder(place)
                    .durability(Durability::PowerLoss)
                    .expected_bytes(EXPECTED_BYTES);
                Arc::new(builder.open().await?)
            }
            Self::Journal => {
                let builder = JournalStore::builder(place)
                    .durability(Durability::PowerLoss)
                    .expected_bytes(EXPECTED_BYTES);
                Arc::new(builder.open().await?)
            }
            Self::Tiny(flaw) => Arc::new(TinyStore::open(place, flaw)?),
        })
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled => f.write_str("sled"),
            Self::Journal => f.write_str("journal"),
            Self::Tiny(flaw) => write!(f, "tiny-{flaw:?}"),
        }
    }
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut each = Self::EACH.iter().copied();
        each.find(|kind| kind.to_string() == name)
            .ok_or_else(|| format!("no such store: {name}"))
    }
}
