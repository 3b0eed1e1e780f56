//! Creates the indexes of a store.

use std::path::{Path, PathBuf};

use super::paged::{IndexSettings, PagedIndex};
use super::{Found, Index, Indexes};

/// Makes indexes that use a database or, without a limit of their memory, none.
///
/// Tries a database once more after an index broke; after that none is used.
#[derive(Debug)]
pub(crate) struct Maker {
    home: PathBuf,
    settings: IndexSettings,
    chances: u32,
}

impl Maker {
    /// For the cache in this directory.
    pub(crate) fn new(home: &Path, settings: IndexSettings) -> Self {
        Self {
            home: home.to_owned(),
            settings,
            chances: 1,
        }
    }
}

impl Indexes for Maker {
    fn keep_files(&self) -> bool {
        self.settings.records_in_memory < usize::MAX
    }

    fn open(&mut self) -> Found {
        let (index, kept) = if self.keep_files() {
            PagedIndex::open(&self.home, self.settings.clone())
        } else {
            (PagedIndex::in_memory(), None)
        };
        let index = Box::new(index);
        Found { index, kept }
    }

    fn fresh(&mut self) -> Option<Box<dyn Index>> {
        self.chances = self.chances.checked_sub(1)?;
        let index = PagedIndex::empty(&self.home, self.settings.clone());
        Some(Box::new(index))
    }
}
