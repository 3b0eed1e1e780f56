//! The stores on disk behind one interface, so that a suite is written once and runs on each.

use std::path::Path;
use std::sync::Arc;

use record_cache::{Durability, JournalStore, RecordStore, SledStore, StoreError};

pub(crate) type Store = Arc<dyn RecordStore>;

/// A store that a suite runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Journal,
    Sled,
    /// A sled store with so few entries in memory that nearly all of its index is on disk.
    TinySled,
}

impl Subject {
    /// All stores. Each opens what another one wrote.
    pub(crate) const ALL: [Self; 3] = [Self::Journal, Self::Sled, Self::TinySled];

    /// The store's name on a test's command line, and that of the module with its tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Sled => "sled",
            Self::TinySled => "sled_with_a_tiny_index",
        }
    }

    /// The name of a test of this store.
    pub(crate) fn test(self, name: &str) -> String {
        format!("{}::{name}", self.name())
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|subject| subject.name() == name).unwrap()
    }

    /// Opens with the default settings, which survive power loss.
    pub(crate) async fn open(self, path: &Path) -> Store {
        self.open_with(path, Durability::PowerLoss).await
    }

    /// Opens with protection from process crashes only, which saves the syncs.
    pub(crate) async fn open_fast(self, path: &Path) -> Store {
        self.open_with(path, Durability::ProcessCrash).await
    }

    pub(crate) async fn open_with(self, path: &Path, durability: Durability) -> Store {
        self.try_open(path, durability, None).await.unwrap()
    }

    pub(crate) async fn try_open(
        self,
        path: &Path,
        durability: Durability,
        expected_bytes: Option<u64>,
    ) -> Result<Store, StoreError> {
        macro_rules! open {
            ($builder:expr) => {{
                let mut builder = $builder.durability(durability);
                if let Some(bytes) = expected_bytes {
                    builder = builder.expected_bytes(bytes);
                }
                Arc::new(builder.open().await?)
            }};
        }
        Ok(match self {
            Self::Journal => open!(JournalStore::builder(path)),
            Self::Sled => open!(SledStore::builder(path)),
            Self::TinySled => open!(SledStore::builder(path).records_in_memory(8)),
        })
    }
}

/// Turns each function that takes a [`Subject`] into a test for each store on disk. The lints
/// report a function missing from the list as dead code.
///
/// `a, b` lists functions that are `async`, `fn a, fn b` functions that are not.
macro_rules! for_each_store {
    ($($tests:tt)+) => {
        $crate::support::subject::tests_of!(journal, Journal, $($tests)+);
        $crate::support::subject::tests_of!(sled, Sled, $($tests)+);
        $crate::support::subject::tests_of!(sled_with_a_tiny_index, TinySled, $($tests)+);
    };
}
pub(crate) use for_each_store;

macro_rules! tests_of {
    ($name:ident, $subject:ident, $($test:ident),+ $(,)?) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($crate::support::Subject::$subject).await;
                }
            )+
        }
    };
    ($name:ident, $subject:ident, $(fn $test:ident),+ $(,)?) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$test($crate::support::Subject::$subject);
                }
            )+
        }
    };
}
pub(crate) use tests_of;
