//! Processes that are killed again and again, and what the sled store still holds.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use record_cache::{Durability, RecordStore, SledStore};
use sled_support::kills::{self, Victim};
use sled_support::{assert_no_blobs, times};

#[derive(Clone, Copy)]
struct Sled;

#[async_trait]
impl Victim for Sled {
    const TEST: &'static str = "no_kill_loses_what_was_acknowledged";
    const LINES: usize = 300;
    const HELD: usize = 200;

    async fn open(self, path: &Path, durability: Durability) -> Arc<dyn RecordStore> {
        let builder = SledStore::builder(path).durability(durability);
        // So small that generations are replaced all the time.
        Arc::new(builder.expected_bytes(100_000).open().await.unwrap())
    }

    fn length(self, number: u64) -> usize {
        match number {
            // So many payloads that places are made for them.
            number if number.is_multiple_of(96) => 300_000,
            number if number.is_multiple_of(8) => 30_000,
            _ => 300,
        }
    }

    fn reach(self, round: usize) -> usize {
        if round % 10 > 7 {
            usize::MAX
        } else {
            1 + round % 80
        }
    }

    fn check(self, path: &Path) {
        assert_no_blobs(path);
    }
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    kills::no_kill_loses_what_was_acknowledged(Sled, times("SLED_KILLS", 200));
}
