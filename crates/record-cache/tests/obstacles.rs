//! Obstacles in a store's directory, left by a cleaner, a neighbour or an accident.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use record_cache::{Durability, StoreError};
use support::process::{self, is_child, peak_memory, say};
use support::subject::for_each_store;
use support::{MARK, Store, Subject, append, assert_holds, numbers, read_all, stream};
use tempfile::TempDir;

for_each_store!(
    a_directory_whose_lock_was_deleted_still_has_one_user,
    a_directory_that_is_deleted_under_a_store_is_made_again,
    a_deleted_directory_that_another_store_has_used_is_left_alone,
    what_is_no_file_is_moved_out_of_the_way,
    what_a_link_leads_to_is_left_alone,
    a_file_that_grew_beyond_measure_is_not_read_whole,
);

/// Longest open allowed, whatever is in the way.
const LIMIT: Duration = Duration::from_secs(60);

async fn opens(subject: Subject, path: &Path, context: &str) -> Store {
    let opening = subject.try_open(path, Durability::PowerLoss, None);
    let Ok(opened) = tokio::time::timeout(LIMIT, opening).await else {
        unreachable!("{context}: the opening hangs");
    };
    opened.unwrap_or_else(|error| unreachable!("{context}: {error}"))
}

async fn a_directory_whose_lock_was_deleted_still_has_one_user(subject: Subject) {
    if let Some((path, _)) = is_child() {
        let refused = subject.try_open(&path, Durability::PowerLoss, None).await;
        let is_refused = matches!(refused, Err(StoreError::InUse { .. }));
        return say(if is_refused { "refused" } else { "opened" });
    }
    let place = TempDir::new().unwrap();
    let store = subject.open(place.path()).await;
    // Windows keeps files that are open.
    let _ = fs::remove_file(place.path().join("lock"));
    let second = subject.try_open(place.path(), Durability::PowerLoss, None);
    let second = second.await.unwrap_err();
    assert!(matches!(second, StoreError::InUse { .. }), "{second}");
    let test = subject.test("a_directory_whose_lock_was_deleted_still_has_one_user");
    let mut second = process::start(&test, place.path(), "");
    second.wait_for("refused");
    second.kill();
    append(&*store, &stream("a"), [1], 10).await;
    store.close().await.unwrap();
    let store = subject.open(place.path()).await;
    assert_holds(&*store, &stream("a"), [1]).await;
    store.close().await.unwrap();
}

/// Windows does not delete what is open.
#[cfg(not(unix))]
async fn a_directory_that_is_deleted_under_a_store_is_made_again(_: Subject) {}

#[cfg(unix)]
async fn a_directory_that_is_deleted_under_a_store_is_made_again(subject: Subject) {
    for parents in [false, true] {
        let place = TempDir::new().unwrap();
        let path = place.path().join("above/cache");
        let store = subject.open(&path).await;
        let name = stream("a");
        append(&*store, &name, 0..10, 10).await;
        let above = path.parent().unwrap();
        let deleted = if parents { above } else { &path };
        // The store may be writing an index file right now.
        while fs::remove_dir_all(deleted).is_err() && deleted.exists() {}
        for n in 10..20 {
            append(&*store, &name, [n], 10).await;
        }
        let held = numbers(&read_all(&*store, &name).await);
        assert!(held.ends_with(&(10..20).collect::<Vec<_>>()), "{held:?}");
        let lost = 20 - held.len() as u64;
        let damaged = store.stats().damaged_records;
        assert_eq!(damaged, lost, "what was lost is counted");
        assert_eq!(store.stats().records(), held.len());
        store.close().await.unwrap();
        let store = subject.open(&path).await;
        assert_eq!(numbers(&read_all(&*store, &name).await), held);
        assert_eq!(store.stats().damaged_records, 0);
        store.close().await.unwrap();
    }
}

#[cfg(not(unix))]
async fn a_deleted_directory_that_another_store_has_used_is_left_alone(_: Subject) {}

#[cfg(unix)]
async fn a_deleted_directory_that_another_store_has_used_is_left_alone(subject: Subject) {
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        leave_another_store_alone(subject, durability).await;
    }
}

#[cfg(unix)]
async fn leave_another_store_alone(subject: Subject, durability: Durability) {
    let place = TempDir::new().unwrap();
    let path = place.path().join("cache");
    let name = stream("a");
    let first = subject.try_open(&path, durability, None).await.unwrap();
    append(&*first, &name, 0..10, 10).await;
    while fs::remove_dir_all(&path).is_err() && path.exists() {}
    // Before the first has noticed.
    let second = subject.open(&path).await;
    append(&*second, &name, 20..30, 10).await;
    // Without a sync, the store looks ten times a second.
    tokio::time::sleep(Duration::from_millis(150)).await;
    for _ in 0..3 {
        let while_used = first.append(vec![support::record(&name, 10, 10)]).await;
        while_used.unwrap_err();
    }
    second.close().await.unwrap();
    for _ in 0..3 {
        let afterwards = first.append(vec![support::record(&name, 10, 10)]).await;
        afterwards.unwrap_err();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let held = numbers(&read_all(&*first, &name).await);
    assert_eq!(held, (0..10).collect::<Vec<_>>(), "can still be delivered");
    first.close().await.unwrap_err();
    let second = subject.open(&path).await;
    assert_holds(&*second, &name, 20..30).await;
    assert_eq!(second.stats().damaged_records, 0);
    second.close().await.unwrap();
}

/// File names of a store, and whether losing the file loses records.
const NAMES: [(&str, bool); 9] = [
    ("lock", false),
    (MARK, false),
    ("journal-mark.tmp", false),
    ("journal-next.tmp", false),
    ("journal-reserve", false),
    ("index-0", false),
    ("index-1", false),
    ("corrupt-1", false),
    ("0000000000.journal", true),
];

/// A cache with some records, or an empty directory for a new one.
async fn cache(subject: Subject, place: &Path, is_new: bool) -> PathBuf {
    let path = place.join("cache");
    if is_new {
        fs::create_dir(&path).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        return path;
    }
    let store = subject.open(&path).await;
    append(&*store, &stream("a"), 0..300, 10).await;
    store.close().await.unwrap();
    path
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

async fn works(subject: Subject, path: &Path, lost: u64, context: &str) {
    let store = opens(subject, path, context).await;
    let stats = store.stats();
    let expected = if stats.records() == 0 { lost } else { 0 };
    assert!(stats.damaged_records >= expected, "{context}: {stats:?}");
    let before = numbers(&read_all(&*store, &stream("a")).await);
    append(&*store, &stream("a"), [1_000], 10).await;
    store.close().await.unwrap();
    let store = opens(subject, path, context).await;
    let held = numbers(&read_all(&*store, &stream("a")).await);
    assert_eq!(held, [&before[..], &[1_000]].concat(), "{context}");
    assert_eq!(store.stats().damaged_records, 0, "{context}: counted once");
    store.close().await.unwrap();
}

async fn what_is_no_file_is_moved_out_of_the_way(subject: Subject) {
    let kinds = [
        "an empty directory",
        "a directory",
        "a FIFO",
        "a dangling link",
        "a loop",
    ];
    for kind in kinds
        .iter()
        .filter(|kind| cfg!(unix) || kind.contains("directory"))
    {
        for (name, has_records) in NAMES {
            for is_new in [true, false] {
                let context = format!("{kind} at {name}, new: {is_new}");
                let place = TempDir::new().unwrap();
                let path = cache(subject, place.path(), is_new).await;
                let obstacle = path.join(name);
                remove(&obstacle);
                match *kind {
                    "an empty directory" => fs::create_dir(&obstacle).unwrap(),
                    "a directory" => {
                        fs::create_dir(&obstacle).unwrap();
                        fs::write(obstacle.join("file"), "something").unwrap();
                    }
                    // Only Unix has FIFOs.
                    #[cfg(unix)]
                    "a FIFO" => {
                        let made = std::process::Command::new("mkfifo").arg(&obstacle).status();
                        assert!(made.unwrap().success());
                    }
                    #[cfg(unix)]
                    "a dangling link" => std::os::unix::fs::symlink("nowhere", &obstacle).unwrap(),
                    #[cfg(unix)]
                    _ => std::os::unix::fs::symlink(name, &obstacle).unwrap(),
                    #[cfg(not(unix))]
                    _ => {}
                }
                let lost = if has_records && !is_new { 300 } else { 0 };
                works(subject, &path, lost, &context).await;
            }
        }
    }
}

/// Windows reserves links for administrators.
#[cfg(not(unix))]
async fn what_a_link_leads_to_is_left_alone(_: Subject) {}

#[cfg(unix)]
async fn what_a_link_leads_to_is_left_alone(subject: Subject) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for (name, has_records) in NAMES {
        for is_new in [true, false] {
            for of_a_directory in [true, false] {
                let context = format!("{name}, new: {is_new}, directory: {of_a_directory}");
                let place = TempDir::new().unwrap();
                let path = cache(subject, place.path(), is_new).await;
                let victim = place.path().join("victim");
                let file = if of_a_directory {
                    fs::create_dir(&victim).unwrap();
                    victim.join("db")
                } else {
                    victim.clone()
                };
                fs::write(&file, "precious").unwrap();
                let mode = fs::Permissions::from_mode(0o644);
                fs::set_permissions(&file, mode.clone()).unwrap();
                remove(&path.join(name));
                symlink(&victim, path.join(name)).unwrap();
                let lost = if has_records && !is_new { 300 } else { 0 };
                works(subject, &path, lost, &context).await;
                let store = opens(subject, &path, &context).await;
                store.clear().await.unwrap();
                store.close().await.unwrap();
                assert_eq!(fs::read(&file).unwrap(), b"precious", "{context}");
                let found = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
                assert_eq!(found, mode.mode(), "{context}");
                let entries = |path: &Path| fs::read_dir(path).unwrap().count();
                assert!(!of_a_directory || entries(&victim) == 1, "{context}");
            }
        }
    }
}

async fn a_file_that_grew_beyond_measure_is_not_read_whole(subject: Subject) {
    const HUGE: u64 = 1 << 30;
    if let Some((path, name)) = is_child() {
        let store = opens(subject, &path, &name).await;
        let held = numbers(&read_all(&*store, &stream("a")).await);
        assert_eq!(held, (0..300).collect::<Vec<_>>(), "{name}");
        store.close().await.unwrap();
        return process::report("peak", peak_memory().unwrap_or(0));
    }
    for name in [
        "lock",
        MARK,
        "journal-mark.tmp",
        "journal-next.tmp",
        "journal-reserve",
        "0000000000.journal",
    ] {
        let place = TempDir::new().unwrap();
        let path = cache(subject, place.path(), false).await;
        let file = path.join(name);
        let original = fs::metadata(&file).map_or(0, |found| found.len());
        let mut options = fs::File::options();
        let grown = options.write(true).create(true).truncate(false).open(&file);
        grown.unwrap().set_len(HUGE).unwrap();
        let test = subject.test("a_file_that_grew_beyond_measure_is_not_read_whole");
        let mut process = process::start(&test, &path, name);
        let peak = process.wait_for_report("peak");
        process.kill();
        let peak = peak.unwrap_or_else(|| unreachable!("{name}: it does not open"));
        assert!(peak < HUGE / 4, "{name}: {peak} bytes of memory");
        // The store neither reads nor writes the lock file.
        if name == "lock" {
            continue;
        }
        let length = fs::metadata(&file).map_or(0, |found| found.len());
        let most = original.max(64 * 1024);
        assert!(length <= most, "{name}: {length} bytes are left");
    }
}
