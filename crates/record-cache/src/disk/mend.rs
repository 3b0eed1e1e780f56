//! Replaces a broken index.

use std::path::Path;
use std::time::Instant;

use super::writer::Writer;
use crate::index::Broken;
use crate::log::Failure;
use crate::log::catalog::lock;
use crate::log::replay::rebuild;
use crate::{StoreError, clock};

impl Writer {
    /// Builds another index from the log if the current one is broken.
    ///
    /// # Errors
    /// If the log cannot be read now. A later call tries again.
    pub(crate) fn mend(&mut self) -> Result<(), StoreError> {
        if lock(&self.shared.catalog).broken().is_none() {
            return Ok(());
        }
        // The new index is built only from data that counts.
        self.conclude();
        let Some(broken) = lock(&self.shared.catalog).broken() else {
            return Ok(());
        };
        let began = clock::monotonic();
        self.log.cut(&mut lock(&self.shared.catalog));
        let segments = lock(&self.shared.catalog).segments.clone();
        let shared = &self.shared;
        let alive = || shared.requests.sign();
        let rebuilt = loop {
            let index = self.indexes.fresh();
            let pending = (&self.log.at.voids, &*self.log.at.rewrite);
            match rebuild(&segments, pending, index, &alive) {
                Ok(rebuilt) => break rebuilt,
                Err(Failure::Index(Broken(reason))) => {
                    tracing::debug!(target: "record_cache", reason, "the rebuilt index broke");
                }
                Err(Failure::Disk(error)) => {
                    return Err(self.log.refused("cannot rebuild the index", "", error));
                }
                Err(Failure::Store(error)) => return Err(error),
            }
        };
        *lock(&self.shared.catalog) = rebuilt.catalog;
        let missing = lock(&self.shared.counters).recount(rebuilt.counters);
        self.log.at.voids.insert_all(&rebuilt.missing);
        note_rebuilt(&self.shared.path, &broken, began, missing);
        Ok(())
    }
}

pub(crate) fn note_rebuilt(path: &Path, Broken(reason): &Broken, began: Instant, missing: u64) {
    let (path, took) = (path.display(), began.elapsed());
    tracing::warn!(target: "record_cache", %path, reason, ?took, missing, "index rebuilt");
}
