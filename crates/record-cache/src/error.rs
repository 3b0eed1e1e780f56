//! The errors of a store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The errors of a store.
///
/// Cheap to clone, because a failed commit fails every call in it.
///
/// ```
/// use record_cache::StoreError;
///
/// /// Advice for the person who runs the program.
/// fn advice(error: &StoreError) -> String {
///     match error {
///         StoreError::InUse { path, .. } => format!("another program uses {}", path.display()),
///         StoreError::Incompatible { path, .. } => format!("choose another directory than {}", path.display()),
///         StoreError::Refused { .. } => "nothing can be stored here, so keep the window open".to_owned(),
///         StoreError::Unavailable { .. } => format!("{error}; trying again"),
///         other => other.to_string(),
///     }
/// }
/// assert_eq!(advice(&StoreError::in_use("/var/lib/shop")), "another program uses /var/lib/shop");
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another store, in this process or another, holds the directory.
    #[error("the directory is in use by another store: path={}", path.display())]
    #[non_exhaustive]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has another format or version, and was left unchanged.
    #[error("the directory has another storage format: path={}, found={found}", path.display())]
    #[non_exhaustive]
    Incompatible {
        /// The directory.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Storage is not permitted here at all (private browsing, a sandbox, a setting). A
    /// [`MemoryStore`](crate::MemoryStore) can be used instead.
    #[error("storage is not permitted here: {context}")]
    #[non_exhaustive]
    Refused {
        /// What the store was doing.
        context: String,
        /// The system's error.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// The storage failed (full, not writable, broken); a later call may succeed.
    #[error("the storage is unavailable: {context}")]
    #[non_exhaustive]
    Unavailable {
        /// What the store was doing, with the path if there is one.
        context: String,
        /// The system's error.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
}

impl StoreError {
    /// Another store holds the directory.
    ///
    /// ```
    /// use record_cache::StoreError;
    ///
    /// // A store of your own, whose lock is taken.
    /// let error = StoreError::in_use("/var/lib/shop");
    /// assert_eq!(error.to_string(), "the directory is in use by another store: path=/var/lib/shop");
    /// ```
    pub fn in_use(path: impl Into<PathBuf>) -> Self {
        Self::InUse { path: path.into() }
    }

    /// The directory has a format that this version does not read.
    ///
    /// ```
    /// use record_cache::StoreError;
    ///
    /// let error = StoreError::incompatible("/var/lib/shop", "version 2");
    /// assert!(error.to_string().ends_with("path=/var/lib/shop, found=version 2"));
    /// ```
    pub fn incompatible(path: impl Into<PathBuf>, found: impl Into<String>) -> Self {
        Self::Incompatible {
            path: path.into(),
            found: found.into(),
        }
    }

    /// Storage is not permitted here, for this reason.
    ///
    /// ```
    /// use record_cache::StoreError;
    ///
    /// let error = StoreError::refused("opening the database", "private browsing");
    /// assert_eq!(error.to_string(), "storage is not permitted here: opening the database");
    /// ```
    pub fn refused(
        context: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Refused {
            context: context.into(),
            source: Some(Arc::from(source.into())),
        }
    }

    /// The storage failed, with this cause.
    ///
    /// ```
    /// use record_cache::StoreError;
    /// use std::error::Error;
    ///
    /// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    /// let error = StoreError::unavailable("writing a record", full);
    /// assert_eq!(error.to_string(), "the storage is unavailable: writing a record");
    /// assert!(error.source().is_some());
    /// ```
    pub fn unavailable(
        context: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            context: context.into(),
            source: Some(Arc::from(source.into())),
        }
    }

    /// The storage failed, without an underlying error.
    ///
    /// ```
    /// use record_cache::StoreError;
    ///
    /// let error = StoreError::unavailable_because("the server is shutting down");
    /// assert_eq!(error.to_string(), "the storage is unavailable: the server is shutting down");
    /// ```
    pub fn unavailable_because(context: impl Into<String>) -> Self {
        Self::Unavailable {
            context: context.into(),
            source: None,
        }
    }
}
