//! The errors of a store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The errors of a store.
///
/// Cheap to clone, because a failed commit fails every call in it.
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
    #[error("no storage is granted here: {context}")]
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
    pub fn in_use(path: impl Into<PathBuf>) -> Self {
        Self::InUse { path: path.into() }
    }

    /// The directory has a format that this version does not read.
    pub fn incompatible(path: impl Into<PathBuf>, found: impl Into<String>) -> Self {
        Self::Incompatible {
            path: path.into(),
            found: found.into(),
        }
    }

    /// Storage is not permitted here, for this reason.
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
    pub fn unavailable_because(context: impl Into<String>) -> Self {
        Self::Unavailable {
            context: context.into(),
            source: None,
        }
    }
}
