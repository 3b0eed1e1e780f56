//! The stores on disk, behind one face: a suite is written once and runs for each.

use std::path::Path;
use std::sync::Arc;

use record_cache::{
    Durability, JournalStore, RecordStore, SledStore, SledStoreBuilder, StoreError,
};

pub(crate) type Store = Arc<dyn RecordStore>;

/// A store that a suite runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Journal,
    Sled,
    /// Holds so few entries in memory that nearly all of its index is in sled.
    TinySled,
}

impl Subject {
    /// All of them; each opens what another one left.
    pub(crate) const ALL: [Self; 3] = [Self::Journal, Self::Sled, Self::TinySled];

    /// Names it on the command line of a test, and the module that its tests are in.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Sled => "sled",
            Self::TinySled => "sled_with_a_tiny_index",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|subject| subject.name() == name).unwrap()
    }

    /// With the default settings, which survive the loss of power.
    pub(crate) async fn open(self, path: &Path) -> Store {
        self.open_with(path, Durability::PowerLoss).await
    }

    /// Survives the end of the process only, so that it costs no syncs.
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
        match self {
            Self::Journal => {
                let mut builder = JournalStore::builder(path).durability(durability);
                if let Some(bytes) = expected_bytes {
                    builder = builder.expected_bytes(bytes);
                }
                Ok(Arc::new(builder.open().await?))
            }
            Self::Sled | Self::TinySled => {
                let mut builder = SledStore::builder(path).durability(durability);
                if let Some(bytes) = expected_bytes {
                    builder = builder.expected_bytes(bytes);
                }
                if self == Self::TinySled {
                    builder = with_a_tiny_index(builder);
                }
                Ok(Arc::new(builder.open().await?))
            }
        }
    }
}

fn with_a_tiny_index(builder: SledStoreBuilder) -> SledStoreBuilder {
    builder.records_in_memory(8)
}

/// Makes a test of each function of a [`Subject`], for each store that is on disk. A
/// function that is left out is dead code, which the lints do not let pass.
///
/// `a, b` names functions that are `async`, `fn a, fn b` functions that are not.
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
