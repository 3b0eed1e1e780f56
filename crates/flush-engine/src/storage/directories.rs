//! Where the records of a client are kept.

use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{Durability, MemoryStore, RecordStore, StoreError};

use crate::api::InvalidSetting;
use crate::storage::default_directory::DefaultDirectory;
#[cfg(any(feature = "sled", feature = "journal"))]
use crate::storage::default_directory::absolute;
#[cfg(feature = "sled")]
use crate::storage::slots::{Slots, open_sled};

/// What a client was told about its storage, setter by setter.
#[derive(Debug, Clone, Default)]
pub struct StorageSettings {
    storage_path: Option<PathBuf>,
    in_memory: bool,
    #[cfg(feature = "journal")]
    journal: Option<PathBuf>,
    store: Option<Arc<dyn RecordStore>>,
}

/// Where the records of a client are kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Below the platform's local data directory.
    Default,
    /// In this directory.
    Path(PathBuf),
    /// Nowhere but in memory.
    InMemory,
    /// In a journal in this directory.
    #[cfg(feature = "journal")]
    Journal(PathBuf),
    /// In this store.
    Store(Arc<dyn RecordStore>),
}

impl StorageSettings {
    /// In this directory.
    pub fn storage_path(&mut self, path: PathBuf) {
        self.storage_path = Some(path);
    }

    /// In memory.
    pub fn in_memory(&mut self) {
        self.in_memory = true;
    }

    /// In a journal in this directory.
    #[cfg(feature = "journal")]
    pub fn journal(&mut self, path: PathBuf) {
        self.journal = Some(path);
    }

    /// In this store.
    pub fn store(&mut self, store: Arc<dyn RecordStore>) {
        self.store = Some(store);
    }

    /// The one place that was named, or the default.
    ///
    /// # Errors
    /// [`InvalidSetting`] when two were named, or a path is empty.
    pub fn choose(self) -> Result<Storage, InvalidSetting> {
        let named = [
            self.storage_path.as_ref().map(|_| "storage_path"),
            self.in_memory.then_some("in_memory"),
            self.store.as_ref().map(|_| "store"),
            #[cfg(feature = "journal")]
            self.journal.as_ref().map(|_| "journal"),
        ];
        let named: Vec<_> = named.into_iter().flatten().collect();
        if let [first, second, ..] = named[..] {
            return Err(InvalidSetting::new(
                first,
                format!("cannot be combined with {second}"),
                format!("call only one of {}", named.join(", ")),
            ));
        }
        let paths = [
            ("storage_path", self.storage_path.as_ref()),
            #[cfg(feature = "journal")]
            ("journal", self.journal.as_ref()),
        ];
        for (setting, path) in paths {
            if path.is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(InvalidSetting::new(
                    setting,
                    "the path is empty",
                    format!("set {setting} to a directory"),
                ));
            }
        }
        Ok(match self {
            Self {
                storage_path: Some(path),
                ..
            } => Storage::Path(path),
            Self {
                store: Some(store), ..
            } => Storage::Store(store),
            #[cfg(feature = "journal")]
            Self {
                journal: Some(path),
                ..
            } => Storage::Journal(path),
            Self {
                in_memory: true, ..
            } => Storage::InMemory,
            Self { .. } => Storage::Default,
        })
    }
}

/// Why a storage could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such storage here.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// It did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A storage that was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenStorage {
    /// The store.
    pub store: Arc<dyn RecordStore>,
    /// The directory that the store is in, if it is in one.
    pub path: Option<PathBuf>,
    /// The directory that holds the slots of this program's instances, if the store is
    /// in one of them.
    #[cfg(feature = "sled")]
    pub slots: Option<Slots>,
}

impl OpenStorage {
    fn alone(store: Arc<dyn RecordStore>, path: Option<PathBuf>) -> Self {
        Self {
            store,
            path,
            #[cfg(feature = "sled")]
            slots: None,
        }
    }
}

impl Storage {
    /// Opens the storage.
    ///
    /// # Errors
    /// [`StorageError::Store`] when the directory cannot be used, and
    /// [`StorageError::Setting`] when there is no default directory on this platform, when another
    /// client of this process has it, or when the feature `sled` is off.
    #[cfg_attr(
        not(any(feature = "sled", feature = "journal")),
        expect(clippy::unused_async, reason = "as with a store on disk")
    )]
    pub async fn open(
        self,
        default: &DefaultDirectory,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<OpenStorage, StorageError> {
        match self {
            Self::InMemory => Ok(OpenStorage::alone(Arc::new(MemoryStore::new()), None)),
            Self::Store(store) => Ok(OpenStorage::alone(store, None)),
            #[cfg(feature = "journal")]
            Self::Journal(path) => {
                let path = absolute(path)?;
                let store = record_cache::JournalStore::builder(path.clone())
                    .durability(durability)
                    .expected_bytes(cache_max_bytes)
                    .open()
                    .await?;
                Ok(OpenStorage::alone(Arc::new(store), Some(path)))
            }
            #[cfg(feature = "sled")]
            Self::Path(path) => {
                let path = absolute(path)?;
                let opening = open_sled(path.clone(), durability, cache_max_bytes);
                let store = opening.await?;
                Ok(OpenStorage::alone(Arc::new(store), Some(path)))
            }
            #[cfg(feature = "sled")]
            Self::Default => {
                let (directory, claim) = default.claim()?;
                let slots = Slots::below(directory, durability, cache_max_bytes).with(claim);
                let (slots, store) = slots.take_free_one().await?;
                Ok(OpenStorage {
                    store: Arc::new(store),
                    path: slots.own_path(),
                    slots: Some(slots),
                })
            }
            #[cfg(not(feature = "sled"))]
            Self::Path(_) | Self::Default => {
                let _ = (default, durability, cache_max_bytes);
                Err(StorageError::Setting(InvalidSetting::new(
                    "store",
                    "this build has no store on disk",
                    "enable the feature `sled`, or call in_memory, store or (feature `journal`) journal",
                )))
            }
        }
    }
}
