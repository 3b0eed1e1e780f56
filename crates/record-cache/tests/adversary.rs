//! Working-directory changes and file modes. `adversary/planted.rs` covers attacks by another user.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "adversary/planted.rs"]
mod planted;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use record_cache::{Durability, StoreError};
use support::process::{self, is_child, say};
use support::subject::for_each_store;
use support::{Subject, append, assert_holds, copy, entries, numbers, read_all, segments, stream};
use tempfile::TempDir;

for_each_store!(
    what_others_may_read_is_theirs_no_more,
    a_directory_that_others_may_write_to_is_refused_untouched,
    a_directory_of_another_user_is_refused_untouched,
    a_relative_path_is_where_it_was_when_the_store_was_opened,
    with_process_crash_only_what_is_last_is_taken_for_torn,
);

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn what_others_may_read_is_theirs_no_more(subject: Subject) {
    let place = TempDir::new().unwrap();
    let store = subject.open(place.path()).await;
    append(&*store, &stream("a"), 0..300, 10).await;
    store.close().await.unwrap();
    for path in entries(place.path(), |_| true) {
        set_mode(&path, if path.is_dir() { 0o777 } else { 0o666 });
    }
    let store = subject.open(place.path()).await;
    for path in entries(place.path(), |_| true) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    store.close().await.unwrap();
}

async fn refused_untouched(subject: Subject, path: &Path, advice: &str) {
    let before = fs::read_dir(path).unwrap().count();
    let opened = subject.try_open(path, Durability::PowerLoss, None).await;
    let Err(error @ StoreError::Unavailable { .. }) = opened else {
        unreachable!("{opened:?}");
    };
    let error = error.to_string();
    assert!(error.contains(advice), "{error}");
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_dir(path).unwrap().count(), before);
}

async fn a_directory_that_others_may_write_to_is_refused_untouched(subject: Subject) {
    for planted in [0, 1] {
        let place = TempDir::new().unwrap();
        let path = place.path().join("cache");
        fs::create_dir(&path).unwrap();
        if planted > 0 {
            std::os::unix::fs::symlink(place.path(), path.join("journal-mark.tmp")).unwrap();
        }
        set_mode(&path, 0o777);
        refused_untouched(subject, &path, "chmod go-w").await;
        assert_eq!(mode(&path), 0o777);
        set_mode(&path, 0o755);
        subject.open(&path).await.close().await.unwrap();
    }
}

async fn a_directory_of_another_user_is_refused_untouched(subject: Subject) {
    let place = TempDir::new().unwrap();
    let path = place.path().join("cache");
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o700);
    // A group with many members. Only root may set the group.
    if chown(&path, None, Some(12_345)).is_ok() {
        set_mode(&path, 0o770);
        refused_untouched(subject, &path, "chmod go-w").await;
    }
    // Only root may give a file away.
    if chown(&path, Some(12_345), None).is_ok() {
        refused_untouched(subject, &path, "another user").await;
    }
}

async fn a_relative_path_is_where_it_was_when_the_store_was_opened(subject: Subject) {
    if let Some((path, _)) = is_child() {
        std::env::set_current_dir(&path).unwrap();
        let store = subject.open("cache".as_ref()).await;
        let elsewhere = path.join("elsewhere");
        fs::create_dir_all(elsewhere.join("cache")).unwrap();
        std::env::set_current_dir(&elsewhere).unwrap();
        // Enough data for several segments and a mark.
        for n in 0..10 {
            append(&*store, &stream("a"), [n], 1 << 20).await;
        }
        store.close().await.unwrap();
        assert_eq!(fs::read_dir("cache").unwrap().count(), 0);
        say("done");
        return;
    }
    let place = TempDir::new().unwrap();
    let test = subject.test("a_relative_path_is_where_it_was_when_the_store_was_opened");
    let mut child = process::start(&test, place.path(), "");
    child.wait_for("done");
    child.kill();
    let store = subject.open(&place.path().join("cache")).await;
    assert_holds(&*store, &stream("a"), 0..10).await;
    store.close().await.unwrap();
}

async fn with_process_crash_only_what_is_last_is_taken_for_torn(subject: Subject) {
    const RECORDS: u64 = 100;
    let work = TempDir::new().unwrap();
    let store = subject.open_fast(work.path()).await;
    for n in 0..RECORDS {
        append(&*store, &stream("a"), [n], 50).await;
    }
    // The log as a kill leaves it.
    let killed = fs::read(&segments(work.path())[0]).unwrap();
    let frame = (killed.len() - 64) / usize::try_from(RECORDS).unwrap();
    for (at, counted) in [(10, 1), (50, 1), (98, 1), (99, 0)] {
        let place = TempDir::new().unwrap();
        let mut bytes = killed.clone();
        bytes[64 + frame * at + frame - 20] ^= 1;
        copy(work.path(), place.path());
        fs::write(&segments(place.path())[0], bytes).unwrap();
        let store = subject.open_fast(place.path()).await;
        let held = numbers(&read_all(&*store, &stream("a")).await);
        let lost = u64::try_from(at).unwrap();
        let left: Vec<u64> = (0..RECORDS).filter(|n| *n != lost).collect();
        assert_eq!(held, left, "record {at}");
        assert_eq!(store.stats().damaged_records, counted, "record {at}");
        store.close().await.unwrap();
        let store = subject.open_fast(place.path()).await;
        let again = store.stats().damaged_records;
        assert_eq!(again, 0, "record {at}: counted once");
        store.close().await.unwrap();
    }
    store.close().await.unwrap();
}
