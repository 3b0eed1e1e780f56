//! Creates the indexes of a store.

use std::path::{Path, PathBuf};

use super::paged::{IndexSettings, PagedIndex};
use super::{Found, Index, Indexes};

/// Makes indexes that use a database, or no database if their memory is unlimited.
///
/// After an index breaks, a database is tried once more, and then no longer used: an index in memory
/// never breaks.
#[derive(Debug)]
pub(crate) struct Maker {
    home: PathBuf,
    settings: IndexSettings,
    has_replaced: bool,
}

impl Maker {
    /// A maker for the cache in this directory.
    pub(crate) fn new(home: &Path, settings: IndexSettings) -> Self {
        Self {
            home: home.to_owned(),
            settings,
            has_replaced: false,
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

    fn fresh(&mut self) -> Box<dyn Index> {
        let settings = match std::mem::replace(&mut self.has_replaced, true) {
            false => self.settings.clone(),
            true => IndexSettings::in_memory(),
        };
        Box::new(PagedIndex::empty(&self.home, settings))
    }
}
