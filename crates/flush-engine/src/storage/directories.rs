//! Chooses and opens the store of a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record_cache::{Durability, MemoryStore, RecordStore, StoreError};

use crate::api::InvalidSetting;
use crate::storage::default_directory::DefaultDirectory;
#[cfg(any(feature = "sled", feature = "journal"))]
use crate::storage::default_directory::absolute;
#[cfg(any(feature = "sled", feature = "journal"))]
use crate::storage::on_disk::OnDisk;
#[cfg(any(feature = "sled", feature = "journal"))]
use crate::storage::slots::Slots;

/// A client's storage settings, as set.
///
/// ```
/// use flush_engine::{Storage, StorageSettings};
///
/// let mut settings = StorageSettings::default();
/// settings.storage_path("/var/lib/shop/records".into());
/// assert!(matches!(settings.clone().choose()?, Storage::Path(_)));
/// // Only one storage can be chosen.
/// settings.in_memory();
/// assert_eq!(settings.choose().expect_err("two").setting, "storage_path");
/// # Ok::<(), flush_engine::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StorageSettings {
    storage_path: Option<PathBuf>,
    in_memory: bool,
    #[cfg(feature = "journal")]
    journal: Option<PathBuf>,
    #[cfg(feature = "journal")]
    in_journal: bool,
    store: Option<Arc<dyn RecordStore>>,
}

/// Where a client's records are kept.
///
/// ```
/// use flush_engine::{DefaultDirectory, Storage, StoragePlace};
/// use record_cache::Durability;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), flush_engine::StorageError> {
/// let default = DefaultDirectory { name: None, records: "shelf_records".to_owned() };
/// let opened = Storage::InMemory.open(&default, Durability::PowerLoss, 1 << 20).await?;
/// assert_eq!(opened.place, StoragePlace::Memory);
/// assert_eq!(opened.store.stats().records(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub enum Storage {
    /// Under the platform's local data directory.
    Default,
    /// In a journal, in the default directory.
    #[cfg(feature = "journal")]
    DefaultJournal,
    /// In this directory.
    Path(PathBuf),
    /// In memory only.
    InMemory,
    /// In a journal in this directory.
    #[cfg(feature = "journal")]
    Journal(PathBuf),
    /// In this store.
    Store(Arc<dyn RecordStore>),
}

impl StorageSettings {
    /// Keeps records in this directory.
    pub fn storage_path(&mut self, path: PathBuf) {
        self.storage_path = Some(path);
    }

    /// Keeps records in memory.
    pub fn in_memory(&mut self) {
        self.in_memory = true;
    }

    /// Keeps records in a journal in this directory.
    #[cfg(feature = "journal")]
    pub fn journal(&mut self, path: PathBuf) {
        self.journal = Some(path);
    }

    /// Keeps records in a journal in the default directory.
    #[cfg(feature = "journal")]
    pub fn in_journal(&mut self) {
        self.in_journal = true;
    }

    /// Keeps records in this store.
    pub fn store(&mut self, store: Arc<dyn RecordStore>) {
        self.store = Some(store);
    }

    /// Returns the chosen storage, or the default.
    ///
    /// # Errors
    /// [`InvalidSetting`] when more than one was chosen, or a path is empty.
    pub fn choose(self) -> Result<Storage, InvalidSetting> {
        let named = [
            self.storage_path.as_ref().map(|_| "storage_path"),
            self.in_memory.then_some("in_memory"),
            self.store.as_ref().map(|_| "store"),
            #[cfg(feature = "journal")]
            self.journal.as_ref().map(|_| "journal"),
            #[cfg(feature = "journal")]
            self.in_journal.then_some("in_journal"),
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
            #[cfg(feature = "journal")]
            Self {
                in_journal: true, ..
            } => Storage::DefaultJournal,
            Self {
                in_memory: true, ..
            } => Storage::InMemory,
            Self { .. } => Storage::Default,
        })
    }
}

/// Why storage could not be opened.
///
/// ```
/// use flush_engine::StorageError;
/// use record_cache::StoreError;
///
/// fn advice(error: &StorageError) -> String {
///     match error {
///         StorageError::Setting(setting) => setting.suggestion.clone(),
///         StorageError::Store(StoreError::InUse { .. }) => "end the other program".to_owned(),
///         StorageError::Store(error) => error.to_string(),
///         other => other.to_string(),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The setting is not valid here.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The store failed to open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opened storage.
///
/// ```
/// use flush_engine::{EngineError, EngineOptions, FlushEngine, OpenStorage, RecordSender};
/// use std::sync::Arc;
///
/// fn start(storage: OpenStorage, sender: Arc<dyn RecordSender>) -> Result<FlushEngine, EngineError> {
///     println!("records are kept in a {}", storage.place.kind());
///     FlushEngine::start(storage.store, sender, EngineOptions::DEFAULT)
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenStorage {
    /// The store.
    pub store: Arc<dyn RecordStore>,
    /// Where its records are.
    pub place: StoragePlace,
    /// The slots of this program's instances, if the store is in a slot.
    #[cfg(any(feature = "sled", feature = "journal"))]
    pub slots: Option<Slots>,
    /// Held while the client is open.
    #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
    pub(crate) claim: Option<crate::storage::in_browser::Claim>,
}

/// Where a client's records are.
///
/// ```
/// # use flush_engine::StoragePlace;
/// fn warning(place: &StoragePlace) -> Option<&'static str> {
///     match place {
///         StoragePlace::Memory => Some("records will not survive the end of the program"),
///         StoragePlace::Directory(path) if path.starts_with("/tmp") => {
///             Some("records will not survive a restart of the machine")
///         }
///         _ => None,
///     }
/// }
/// assert!(warning(&StoragePlace::Memory).is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoragePlace {
    /// In memory: lost when the process ends or the page closes. In a browser, also the fallback
    /// when nothing else was granted.
    Memory,
    /// In this directory.
    Directory(PathBuf),
    /// In the browser's database.
    #[non_exhaustive]
    Database {
        /// The name of the database.
        name: String,
        /// This tab's slot among the tabs that share the database.
        slot: u32,
    },
    /// In the store passed by the caller.
    Given,
}

impl StoragePlace {
    /// The kind as a single word, for logs.
    ///
    /// ```
    /// # use flush_engine::StoragePlace;
    /// let place = StoragePlace::Directory("/var/lib/shop/records".into());
    /// assert_eq!(place.kind(), "directory");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Directory(_) => "directory",
            Self::Database { .. } => "database",
            Self::Given => "given",
        }
    }

    /// The directory, if the records are in one.
    ///
    /// ```
    /// # use flush_engine::StoragePlace;
    /// # use std::path::Path;
    /// let place = StoragePlace::Directory("/var/lib/shop/records".into());
    /// assert_eq!(place.directory(), Some(Path::new("/var/lib/shop/records")));
    /// assert_eq!(StoragePlace::Memory.directory(), None);
    /// ```
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Memory | Self::Database { .. } | Self::Given => None,
        }
    }
}

impl OpenStorage {
    pub(super) fn alone(store: Arc<dyn RecordStore>, place: StoragePlace) -> Self {
        Self {
            store,
            place,
            #[cfg(any(feature = "sled", feature = "journal"))]
            slots: None,
            #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
            claim: None,
        }
    }
}

impl Storage {
    /// Opens the storage.
    ///
    /// # Errors
    /// [`StorageError::Store`] when the directory cannot be used. [`StorageError::Setting`] when
    /// this platform has no default directory, when another client of this process uses it, or when
    /// the features `sled` and `journal` are off.
    ///
    /// # Cancel safety
    /// If the storage was already opened, it is released shortly afterwards.
    #[cfg_attr(
        not(any(feature = "sled", feature = "journal", feature = "browser")),
        expect(clippy::unused_async, reason = "as with a store on disk")
    )]
    pub async fn open(
        self,
        default: &DefaultDirectory,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<OpenStorage, StorageError> {
        match self {
            Self::InMemory => {
                let store = Arc::new(MemoryStore::new());
                Ok(OpenStorage::alone(store, StoragePlace::Memory))
            }
            Self::Store(store) => Ok(OpenStorage::alone(store, StoragePlace::Given)),
            #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
            Self::Default => crate::storage::in_browser::open(default, durability).await,
            #[cfg(feature = "journal")]
            Self::Journal(path) => {
                OnDisk::Journal
                    .alone(path, durability, cache_max_bytes)
                    .await
            }
            #[cfg(feature = "journal")]
            Self::DefaultJournal => {
                OnDisk::Journal
                    .in_slot(default, durability, cache_max_bytes)
                    .await
            }
            #[cfg(any(feature = "sled", feature = "journal"))]
            Self::Path(path) => OnDisk::USUAL.alone(path, durability, cache_max_bytes).await,
            #[cfg(any(feature = "sled", feature = "journal"))]
            Self::Default => {
                OnDisk::USUAL
                    .in_slot(default, durability, cache_max_bytes)
                    .await
            }
            #[cfg(not(any(feature = "sled", feature = "journal")))]
            _ => {
                let _ = (default, durability, cache_max_bytes);
                Err(StorageError::Setting(InvalidSetting::new(
                    "store",
                    "this build has no store on disk",
                    "enable the feature `sled` or `journal`, or call in_memory or store",
                )))
            }
        }
    }
}

#[cfg(any(feature = "sled", feature = "journal"))]
impl OnDisk {
    /// Opens a directory that no one else uses.
    async fn alone(
        self,
        path: PathBuf,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<OpenStorage, StorageError> {
        let path = absolute(path)?;
        let store = self.open(path.clone(), durability, cache_max_bytes).await?;
        Ok(OpenStorage::alone(store, StoragePlace::Directory(path)))
    }

    /// Opens a slot of the default directory.
    async fn in_slot(
        self,
        default: &DefaultDirectory,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<OpenStorage, StorageError> {
        let (directory, claim) = default.claim()?;
        let slots = Slots::below(self, directory, durability, cache_max_bytes).with(claim);
        let (slots, store) = slots.take_free_one().await?;
        let place = StoragePlace::Directory(slots.own_path());
        let mut storage = OpenStorage::alone(store, place);
        storage.slots = Some(slots);
        Ok(storage)
    }
}
