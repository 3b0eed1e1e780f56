//! Processes that are killed again and again, and what the journal still holds.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use journal_support::kills::{self, Victim};
use journal_support::times;
use record_cache::{Durability, JournalStore, RecordStore};

#[derive(Clone, Copy)]
struct Journal;

#[async_trait]
impl Victim for Journal {
    const TEST: &'static str = "no_kill_loses_what_was_acknowledged";
    const LINES: usize = 600;
    const HELD: usize = usize::MAX;

    async fn open(self, path: &Path, durability: Durability) -> Arc<dyn RecordStore> {
        let builder = JournalStore::builder(path).durability(durability);
        Arc::new(builder.open().await.unwrap())
    }

    fn length(self, number: u64) -> usize {
        if number.is_multiple_of(40) {
            20_000
        } else {
            300
        }
    }

    fn reach(self, round: usize) -> usize {
        1 + round % 80
    }
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    kills::no_kill_loses_what_was_acknowledged(Journal, times("JOURNAL_KILLS", 200));
}
