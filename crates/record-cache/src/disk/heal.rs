//! Recovers when the directory or files in it are deleted.
//!
//! A deleted file can still be read while it is open. Before anything else, its contents are
//! rewritten to a new segment in the current directory.

use std::time::Duration;

use super::writer::Writer;
use crate::log::Failure;
use crate::log::catalog::lock;
use crate::log::reserve::Reserve;
use crate::{Durability, StoreError, clock};

/// How often to check the files when nothing is synced.
const OFTEN: Duration = Duration::from_millis(100);
/// How often to check files that are not being written.
const SELDOM: Duration = Duration::from_secs(1);
/// How often to check while nothing is requested.
pub(super) const RARELY: Duration = if cfg!(test) {
    Duration::from_millis(200)
} else {
    Duration::from_secs(10)
};

impl Writer {
    /// Checks whether files in use were deleted and, if so, rewrites their contents. Checks more
    /// often before what has to survive a power loss.
    ///
    /// # Errors
    /// If what is written next would go into a deleted file.
    pub(crate) fn look_after_files(&mut self, durability: Durability) -> Result<(), StoreError> {
        let since = self.looked.elapsed();
        if since < OFTEN && (self.directory_lost || durability != Durability::PowerLoss) {
            return self.require_directory();
        }
        let gone = self.log.is_gone() || {
            // The directory may be deleted while no file in it is being written.
            self.log.active_segment().is_none() && self.log.disk.is_gone()
        };
        let gone = gone || (since >= SELDOM && self.is_any_gone());
        if since >= OFTEN {
            self.looked = clock::monotonic();
        }
        if gone {
            self.heal();
        }
        self.directory_lost &= gone;
        self.require_directory()
    }

    /// An error if what is written next would go into a deleted file.
    pub(super) fn require_directory(&self) -> Result<(), StoreError> {
        if !self.directory_lost {
            return Ok(());
        }
        let path = self.shared.path.display();
        let context = format!("the directory was deleted, and cannot be recreated: path={path}");
        Err(StoreError::unavailable_because(context))
    }

    pub(crate) fn is_any_gone(&self) -> bool {
        let segments = lock(&self.shared.catalog).segments.clone();
        segments.values().any(|segment| segment.file.is_gone()) || self.log.disk.is_gone()
    }

    pub(crate) fn heal(&mut self) {
        self.conclude();
        let path = self.shared.path.display().to_string();
        let damaged = lock(&self.shared.counters).damaged_records;
        let healed = self.write_all_again();
        let lost = lock(&self.shared.counters).damaged_records - damaged;
        let records = self.held();
        let was_lost = self.directory_lost;
        self.directory_lost = self.log.is_gone() || self.log.disk.is_gone();
        match healed {
            Ok(()) => tracing::warn!(
                target: "record_cache", path, records, lost,
                "files were deleted while in use; their contents were written again"
            ),
            // Already said.
            Err(_) if was_lost && self.directory_lost => {}
            Err(failure) => tracing::warn!(
                target: "record_cache", path, records, lost, ?failure,
                "files were deleted while in use, and cannot be written again now"
            ),
        }
    }

    fn write_all_again(&mut self) -> Result<(), Failure> {
        if self.log.disk.is_gone() {
            self.log.set_disk(self.log.disk.make_again()?);
        }
        self.log.roll();
        self.log.write_mark(self.held())?;
        let old = lock(&self.shared.catalog).segments.clone();
        for &number in old.keys() {
            // A broken index cannot be queried, so it is replaced first.
            while let Err(failure) = self.carry_forward(number) {
                let Failure::Index(_) = failure else {
                    return Err(failure);
                };
                self.mend()?;
            }
        }
        // With this commit, the log says that it needs none of the old segments, even after a power
        // loss.
        self.log.commit(&[], Durability::PowerLoss)?;
        for number in old.into_keys() {
            if Some(number) != self.log.active_segment() {
                self.delete(number);
            }
        }
        self.reserve = Reserve::find(&*self.log.disk);
        Ok(())
    }
}
