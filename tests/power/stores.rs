//! The stores under test.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use amplify_test_support::stores::StoreKind;
use record_cache::{Durability, RecordStore, StoreError};
use serde::{Deserialize, Serialize};

use super::tiny::{Flaw, TinyStore};

/// Small, so that few records make the store compact its log.
const EXPECTED_BYTES: u64 = 1024 * 1024;

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    Store(StoreKind),
    Tiny(Flaw),
}

impl Subject {
    pub async fn open(self, place: &Path) -> Result<Arc<dyn RecordStore>, StoreError> {
        match self {
            Self::Store(kind) => {
                kind.open(place, Durability::PowerLoss, EXPECTED_BYTES)
                    .await
            }
            Self::Tiny(flaw) => Ok(Arc::new(TinyStore::open(place, flaw)?)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(kind) => kind.fmt(f),
            Self::Tiny(flaw) => write!(f, "tiny-{flaw:?}"),
        }
    }
}
