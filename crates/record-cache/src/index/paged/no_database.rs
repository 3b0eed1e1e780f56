//! The stand-in without the feature `sled`, when there is no database and no index may use one.

use std::path::Path;

use super::block::Key;
use super::pages::Changes;
use super::worker::{Outcome, Progress};

#[derive(Debug)]
pub(super) struct Database {
    pub(super) number: u64,
}

impl Database {
    pub(super) fn create(_: &Path, _: &Progress) -> Outcome<Self> {
        none()
    }

    pub(super) fn open(_: &Path, _: u64, _: &Progress) -> Outcome<Self> {
        none()
    }

    pub(super) fn scan(&self, _: impl FnMut(&[u8], &[u8]) -> Outcome<()>) -> Outcome<()> {
        none()
    }

    pub(super) fn get(&self, _: Key) -> Outcome<Vec<u8>> {
        none()
    }

    pub(super) fn apply(&mut self, _: Changes, _: Option<u64>) -> Outcome<()> {
        none()
    }

    pub(super) fn close(self) {}

    pub(super) fn delete(self) {}
}

fn none<T>() -> Outcome<T> {
    Err("this program was built without sled".to_owned())
}

pub(super) fn numbers(_: &Path) -> Vec<u64> {
    Vec::new()
}

pub(super) fn delete_others(_: &Path, _: Option<u64>) {}
