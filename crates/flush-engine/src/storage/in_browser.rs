//! The store of a page: the browser's database or, if the browser grants none, memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use record_cache::{Durability, IndexedDbStore, MemoryStore, StoreError};

use crate::api::InvalidSetting;
use crate::storage::{DefaultDirectory, OpenStorage, StorageError, StoragePlace};
use crate::telemetry::log;

/// Prefix of the database name if the program has no name.
const PROGRAM: &str = "amplify";

/// Databases in use by clients of this page.
static CLAIMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Reserves a database for one client of this page until dropped. Clients in other tabs may share
/// it.
#[derive(Debug)]
pub(crate) struct Claim(String);

impl Claim {
    fn new(database: String) -> Result<Self, InvalidSetting> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.insert(database.clone()) {
            return Ok(Self(database));
        }
        Err(InvalidSetting::new(
            "name",
            "another client of this page has the same database",
            "give each client a name of its own, or share one client",
        ))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.0);
    }
}

/// Opens the database in this tab's own slot.
pub(super) async fn open(
    default: &DefaultDirectory,
    durability: Durability,
) -> Result<OpenStorage, StorageError> {
    let program = default.name.as_deref().unwrap_or(PROGRAM);
    let name = format!("{program}/{}", default.records);
    let claim = Claim::new(name.clone())?;
    let builder = IndexedDbStore::builder().name(name.clone());
    let opened = builder.durability(durability).slots().open().await;
    let mut storage = match opened {
        Ok(store) => {
            let slot = store.slot();
            OpenStorage::alone(Arc::new(store), StoragePlace::Database { name, slot })
        }
        Err(error @ StoreError::Refused { .. }) => {
            tracing::warn!(
                target: log::TARGET,
                %error,
                "the browser grants no storage: records are kept in memory, and lost when the page closes"
            );
            OpenStorage::alone(Arc::new(MemoryStore::new()), StoragePlace::Memory)
        }
        Err(error) => return Err(error.into()),
    };
    storage.claim = Some(claim);
    Ok(storage)
}
