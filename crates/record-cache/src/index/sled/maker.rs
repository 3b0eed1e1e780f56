//! Creates the indexes of a store.

use std::path::{Path, PathBuf};

use super::{SledIndex, SledIndexSettings};
use crate::index::{Broken, Found, Index, Indexes};

/// Tries sled once more after an index broke; after that it is not used.
#[derive(Debug)]
pub(crate) struct InSled {
    home: PathBuf,
    settings: SledIndexSettings,
    chances: u32,
}

impl InSled {
    /// For the cache in this directory.
    pub(crate) fn new(home: &Path, settings: SledIndexSettings) -> Self {
        Self {
            home: home.to_owned(),
            settings,
            chances: 1,
        }
    }
}

impl Indexes for InSled {
    fn keep_files(&self) -> bool {
        true
    }

    fn open(&mut self) -> Result<Found, Broken> {
        let (index, kept) = SledIndex::open(&self.home, self.settings.clone());
        let index = Box::new(index);
        Ok(Found { index, kept })
    }

    fn fresh(&mut self) -> Option<Box<dyn Index>> {
        self.chances = self.chances.checked_sub(1)?;
        let index = SledIndex::empty(&self.home, self.settings.clone());
        Some(Box::new(index))
    }
}
