//! The index is disposable: if it is damaged, lost, stale or ahead of the log, no record is lost or
//! comes back. Each store opens what any other one wrote.
//!
//! `INDEX_CASES` and `INDEX_HISTORIES` lengthen the run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod alternately;
mod damaged;
mod out_of_step;
mod rebuilt;

use std::path::Path;

use support::{End, Sample, Subject, indexes};

/// Writes the databases to damage. Nearly all of its index is in sled.
const WRITER: Subject = Subject::TinySled;

/// A store with an index in sled, to be opened by another store later.
async fn sample(opener: Subject, end: End) -> Sample {
    let mut sample = Sample::new(WRITER, end, 6_000, |n| usize::try_from(n % 90).unwrap()).await;
    assert_has_an_index(sample.place.path());
    sample.subject = opener;
    sample
}

fn assert_has_an_index(path: &Path) {
    assert_eq!(indexes(path).len(), 1, "databases");
}
