//! Opening, closing and sharing a store's directory, and its disk usage.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use record_cache::{Durability, NewRecord, RecordStore, Settlement, StoreError, holds_nothing};
use support::process::{self, is_child, say};
use support::subject::for_each_store;
use support::{
    MARK, Numbers, Subject, append, assert_holds, assert_no_blobs, change, copy, crc32c, delete,
    delete_all, disk_usage, files_below, index_bytes, limits, numbers, read_all, record, segments,
    settled_down, stream,
};
use tempfile::TempDir;

for_each_store!(
    a_directory_has_one_user_in_a_process,
    a_directory_has_one_user_among_processes,
    a_closed_store_can_be_opened_again_at_once,
    a_dropped_store_releases_its_directory,
    another_version_is_refused_and_left_alone,
    a_foreign_directory_is_left_as_it_is,
    what_cannot_be_a_directory_is_unavailable,
    only_the_owner_may_read_anything,
    ids_grow_after_a_clear_and_a_crash,
    the_disk_is_bounded_under_churn_and_given_back,
    the_disk_is_bounded_beside_a_stream_that_stands_still,
    an_empty_store_gives_the_disk_back,
    segments_that_come_back_after_their_compaction_do_no_harm,
    a_directory_from_before_there_were_hash_keys_opens_and_takes_them,
    a_directory_is_known_to_hold_nothing_only_after_its_store_was_closed_empty,
);

const MIB: u64 = 1024 * 1024;
/// The smallest segment, which the default settings use.
const SEGMENT: u64 = 4 * MIB;
/// Beside the log: lock, mark, reserve and directory blocks.
const OTHER_FILES: u64 = 128 * 1024;
/// Peak disk usage allowed for sled.
const INDEX: u64 = 16 * MIB;

async fn try_open(subject: Subject, path: &Path) -> Result<support::Store, StoreError> {
    subject.try_open(path, Durability::PowerLoss, None).await
}

/// The error of an open that must fail.
async fn refusal(subject: Subject, path: &Path) -> StoreError {
    try_open(subject, path).await.expect_err("it is refused")
}

async fn a_directory_has_one_user_in_a_process(subject: Subject) {
    let place = TempDir::new().unwrap();
    let first = subject.open(place.path()).await;
    let name = stream("a");
    first.append(vec![record(&name, 1, 10)]).await.unwrap();
    for other in Subject::ALL {
        let refused = refusal(other, place.path()).await;
        let StoreError::InUse { path, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(path, place.path());
    }
    // The first user is undisturbed.
    first.append(vec![record(&name, 2, 10)]).await.unwrap();
    assert_eq!(numbers(&read_all(&*first, &name).await), [1, 2]);
    first.close().await.unwrap();
    let second = subject.open(place.path()).await;
    assert_eq!(second.stats().records(), 2);
    second.close().await.unwrap();
}

async fn a_directory_has_one_user_among_processes(subject: Subject) {
    if let Some((path, _)) = is_child() {
        let store = subject.open(&path).await;
        append(&*store, &stream("a"), [1], 10).await;
        say("holding");
        return std::future::pending().await;
    }
    let place = TempDir::new().unwrap();
    let test = subject.test("a_directory_has_one_user_among_processes");
    let mut holder = process::start(&test, place.path(), "");
    holder.wait_for("holding");
    let refused = refusal(subject, place.path()).await;
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    holder.kill();
    let store = subject.open(place.path()).await;
    assert_eq!(numbers(&read_all(&*store, &stream("a")).await), [1]);
    store.close().await.unwrap();
}

async fn a_closed_store_can_be_opened_again_at_once(subject: Subject) {
    let place = TempDir::new().unwrap();
    for n in 0..50 {
        let store = subject.open(place.path()).await;
        assert_eq!(store.stats().records() as u64, n);
        append(&*store, &stream("a"), [n], 100).await;
        store.close().await.unwrap();
    }
}

async fn a_dropped_store_releases_its_directory(subject: Subject) {
    let place = TempDir::new().unwrap();
    for n in 0..20 {
        let mut tries = 0;
        let store = loop {
            match try_open(subject, place.path()).await {
                Ok(store) => break store,
                Err(error) => assert!(matches!(error, StoreError::InUse { .. }), "{error}"),
            }
            tries += 1;
            assert!(tries < 10_000, "it is never released");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        };
        append(&*store, &stream("a"), [n], 100).await;
        assert_holds(&*store, &stream("a"), 0..=n).await;
    }
}

/// The contents of every file below a directory.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(path).into_iter();
    let read = |file: PathBuf| (file.clone(), fs::read(file).unwrap());
    files.map(read).collect()
}

async fn another_version_is_refused_and_left_alone(subject: Subject) {
    for of_the_mark in [true, false] {
        let place = TempDir::new().unwrap();
        let store = subject.open(place.path()).await;
        append(&*store, &stream("s"), [1], 10).await;
        store.close().await.unwrap();
        let file = match of_the_mark {
            true => place.path().join(MARK),
            false => segments(place.path()).remove(0),
        };
        let original = fs::read(&file).unwrap();
        change(&file, |bytes| {
            bytes[8] = 7;
            let checksum = crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        });
        // An open would move this out of the way.
        let obstacle = place.path().join("0000000099.journal");
        fs::create_dir(&obstacle).unwrap();
        fs::write(obstacle.join("x"), "in the way").unwrap();
        let before = contents(place.path());
        let refused = refusal(subject, place.path()).await;
        let StoreError::Incompatible { found, .. } = refused else {
            panic!("{refused}");
        };
        assert!(found.contains("version 7"), "{found}");
        assert!(contents(place.path()) == before, "untouched");

        fs::write(&file, original).unwrap();
        let store = subject.open(place.path()).await;
        assert_eq!(numbers(&read_all(&*store, &stream("s")).await), [1]);
        store.close().await.unwrap();
    }
}

async fn a_foreign_directory_is_left_as_it_is(subject: Subject) {
    let foreign = [
        "manifest",
        "gen-00000000-0000000000000000",
        "db",
        "conf",
        "notes.txt",
    ];
    for name in foreign {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join(name), "not ours").unwrap();
        let before = contents(place.path());
        let refused = refusal(subject, place.path()).await;
        let StoreError::Incompatible { found, .. } = refused else {
            panic!("{name}: {refused}");
        };
        assert!(found.contains(name), "{found}");
        assert!(contents(place.path()) == before, "{name}: untouched");
    }
}

async fn what_cannot_be_a_directory_is_unavailable(subject: Subject) {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "here").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = refusal(subject, &path).await;
        assert!(
            matches!(refused, StoreError::Unavailable { .. }),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}

/// Only Unix has modes. Elsewhere the directory inherits its parent's permissions.
#[cfg(unix)]
fn assert_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let expected = if path.is_dir() { 0o700 } else { 0o600 };
    // sled creates its own files, in a directory that nobody else may enter.
    let of_sled = path
        .components()
        .any(|part| part.as_os_str().to_string_lossy().starts_with("index-"));
    let is_private = mode == expected || of_sled;
    assert!(is_private, "{} has {mode:o}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}

#[cfg(not(unix))]
fn assert_private(path: &Path) {
    assert!(path.is_dir());
}

async fn only_the_owner_may_read_anything(subject: Subject) {
    let place = TempDir::new().unwrap();
    let path = place.path().join("made/on/the/way");
    let made = place.path().join("made");
    let name = stream("a");
    for _ in 0..3 {
        let store = subject.open(&path).await;
        append(&*store, &name, 0..300, 10).await;
        assert_private(&made);
        store.close().await.unwrap();
        assert_private(&made);
    }
    assert!(contents(&path).len() >= 3, "lock, mark and segment");
    // Files set aside are private too.
    fs::remove_file(path.join(MARK)).unwrap();
    for segment in segments(&path) {
        fs::write(segment, [0x61; 9_000]).unwrap();
    }
    let store = subject.open(&path).await;
    assert_eq!(support::copies(&path).len(), 1);
    assert_private(&made);
    store.close().await.unwrap();
}

async fn ids_grow_after_a_clear_and_a_crash(subject: Subject) {
    let place = TempDir::new().unwrap();
    let name = stream("cleared");
    let store = subject.open(place.path()).await;
    append(&*store, &name, 0..5, 10).await;
    let last = read_all(&*store, &name).await.records[4].id;
    store.clear().await.unwrap();
    let crashed = TempDir::new().unwrap();
    copy(place.path(), crashed.path());
    store.close().await.unwrap();
    let store = subject.open(crashed.path()).await;
    assert_eq!(store.stats().records(), 0);
    store.append(vec![record(&name, 7, 10)]).await.unwrap();
    assert!(read_all(&*store, &name).await.records[0].id > last);
    store.close().await.unwrap();
}

/// Checks the disk usage of the log against the records held, and that of sled beside it.
fn assert_bounded(store: &dyn RecordStore, path: &Path, context: &str) -> u64 {
    let live = store.stats().bytes();
    let index = index_bytes(path);
    let log = disk_usage(path).saturating_sub(index);
    assert!(
        log <= 2 * live + 2 * SEGMENT,
        "{context}: {log} bytes for {live}"
    );
    assert!(index <= INDEX, "{context}: the index has {index} bytes");
    log
}

async fn the_disk_is_bounded_under_churn_and_given_back(subject: Subject) {
    let place = TempDir::new().unwrap();
    let store = subject.open_fast(place.path()).await;
    let (stalled, busy) = (stream("stalled"), stream("busy"));
    let mut random = Numbers::new(3);
    let mut most = 0;
    for round in 0..1500_u64 {
        let mut records: Vec<NewRecord> = (0..40)
            .map(|n| record(&busy, n, 900 + random.below(200)))
            .collect();
        if round % 2 == 0 && round < 1000 {
            records.extend((0..6).map(|n| record(&stalled, n, 1000)));
        }
        store.append(records).await.unwrap();
        let held = store.oldest(&busy, None, limits(60)).await.unwrap();
        delete(&*store, &busy, &held.records).await;
        let context = format!("round {round}");
        most = most.max(assert_bounded(&*store, place.path(), &context));
    }
    assert!(most > 2 * SEGMENT, "several segments were in use: {most}");
    let kept = read_all(&*store, &stalled).await.records;
    assert_eq!(kept.len(), 500 * 6, "the stalled ones stay");
    assert_no_blobs(place.path());
    for name in [&stalled, &busy] {
        delete_all(&*store, name).await;
    }
    settled_down(&*store).await;
    store.close().await.unwrap();
    let usage = disk_usage(place.path());
    assert!(usage <= SEGMENT + OTHER_FILES, "{usage} bytes when empty");
}

async fn the_disk_is_bounded_beside_a_stream_that_stands_still(subject: Subject) {
    let place = TempDir::new().unwrap();
    let opened = subject.try_open(place.path(), Durability::ProcessCrash, Some(MIB));
    let store = opened.await.unwrap();
    // One record of the idle stream between those that come and go.
    let (still, busy) = (stream("still"), stream("busy"));
    for round in 0..400 {
        append(&*store, &still, [round], 2_000).await;
        for call in 0..2 {
            let new = (0..40).map(|n| record(&busy, call * 40 + n, 984));
            store.append(new.collect()).await.unwrap();
            let found = read_all(&*store, &busy).await.records;
            assert_eq!(found.len(), 40);
            delete(&*store, &busy, &found).await;
        }
        assert_bounded(&*store, place.path(), &format!("round {round}"));
    }
    assert_holds(&*store, &still, 0..400).await;
    assert_no_blobs(place.path());
    store.close().await.unwrap();
}

async fn an_empty_store_gives_the_disk_back(subject: Subject) {
    let place = TempDir::new().unwrap();
    let store = subject.open_fast(place.path()).await;
    let name = stream("a");
    append(&*store, &name, 0..6_000, 1_000).await;
    let full = disk_usage(place.path());
    assert!(full > 6 * MIB, "{full}");
    let last = read_all(&*store, &name).await.records[5_999].id;
    delete_all(&*store, &name).await;
    settled_down(&*store).await;
    let empty = disk_usage(place.path());
    assert!(empty <= SEGMENT + OTHER_FILES, "{empty} bytes when empty");

    // Ids continue where they were, in this process and the next.
    store.append(vec![record(&name, 1, 10)]).await.unwrap();
    let next = read_all(&*store, &name).await.records[0].id;
    assert!(next > last, "{next:?} after {last:?}");
    store.clear().await.unwrap();
    store.close().await.unwrap();
    let store = subject.open_fast(place.path()).await;
    store.append(vec![record(&name, 2, 10)]).await.unwrap();
    let after_all = read_all(&*store, &name).await.records[0].id;
    assert!(after_all > next, "{after_all:?} after {next:?}");
    store.close().await.unwrap();
}

async fn segments_that_come_back_after_their_compaction_do_no_harm(subject: Subject) {
    let place = TempDir::new().unwrap();
    let old = TempDir::new().unwrap();
    let (kept, gone) = (stream("kept"), stream("gone"));
    let store = subject.open_fast(place.path()).await;
    // A later call settles each call, perhaps in the next segment.
    for call in 0..60_u64 {
        let before = read_all(&*store, &gone).await.records;
        let mut new = vec![record(&kept, call, 5_000)];
        new.extend((0..40).map(|n| record(&gone, n, 9_000)));
        store.append(new).await.unwrap();
        // Ensures that no segment is deleted while being copied.
        settled_down(&*store).await;
        for segment in segments(place.path()) {
            fs::copy(&segment, old.path().join(segment.file_name().unwrap())).unwrap();
        }
        delete(&*store, &gone, &before).await;
    }
    let held = read_all(&*store, &kept).await.records;
    let ids = held.iter().map(|record| record.id);
    let settlement = Settlement::new(kept.clone()).count_attempt(ids);
    store.settle(settlement).await.unwrap();
    settled_down(&*store).await;
    let stats = store.stats();
    for closed in [false, true] {
        if closed {
            store.close().await.unwrap();
        }
        let here = segments(place.path());
        let is_gone = |old: &PathBuf| here.iter().all(|here| here.file_name() != old.file_name());
        let compacted: Vec<PathBuf> = segments(old.path()).into_iter().filter(is_gone).collect();
        let count = compacted.len();
        assert!(count >= 3, "{count} segments were compacted");
        for segment in &compacted {
            let after = TempDir::new().unwrap();
            copy(place.path(), after.path());
            let back = after.path().join(segment.file_name().unwrap());
            fs::copy(segment, &back).unwrap();
            let store = subject.open_fast(after.path()).await;
            assert_eq!(store.stats(), stats, "closed {closed}, {}", back.display());
            let batch = read_all(&*store, &kept).await;
            assert_eq!(numbers(&batch), (0..60).collect::<Vec<_>>());
            assert!(batch.records.iter().all(|record| record.attempts == 1));
            store.close().await.unwrap();
            assert!(!back.exists(), "{} is back", back.display());
        }
    }
}

async fn a_directory_from_before_there_were_hash_keys_opens_and_takes_them(subject: Subject) {
    let segment = include_bytes!("fixtures/without-hash-keys/0000000000.journal");
    let mark = include_bytes!("fixtures/without-hash-keys/journal-mark");
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("0000000000.journal"), segment).unwrap();
    fs::write(place.path().join(MARK), mark).unwrap();
    let mut store = subject.open(place.path()).await;
    assert_eq!(store.stats().damaged_records, 0);
    let (orders, clicks) = (stream("orders"), stream("clicks"));
    let hashed = NewRecord::new(clicks.clone(), Some("key 6".to_owned()), "payload 6");
    let hashed = hashed.with_explicit_hash_key(Some(u128::MAX));
    store.append(vec![hashed]).await.unwrap();
    for _ in 0..2 {
        let read = |batch: record_cache::ReadBatch| -> Vec<_> {
            let records = batch.records.into_iter();
            let parts = records.map(|r| (r.key, r.explicit_hash_key, r.data, r.attempts));
            parts.collect()
        };
        let expected = |n: u8, hash_key, attempts| {
            let key = (!n.is_multiple_of(3) || n > 5).then(|| format!("key {n}"));
            (key, hash_key, format!("payload {n}").into(), attempts)
        };
        let held = read(read_all(&*store, &orders).await);
        assert_eq!(held, [expected(2, None, 1), expected(4, None, 0)]);
        let [one, three, five] = [1, 3, 5].map(|n| expected(n, None, 0));
        let six = expected(6, Some(u128::MAX), 0);
        let held = read(read_all(&*store, &clicks).await);
        assert_eq!(held, [one, three, five, six]);
        store.close().await.unwrap();
        store = subject.open(place.path()).await;
    }
    store.close().await.unwrap();
}

async fn a_directory_is_known_to_hold_nothing_only_after_its_store_was_closed_empty(
    subject: Subject,
) {
    let place = TempDir::new().unwrap();
    let path = place.path();
    let name = stream("a");
    assert!(!holds_nothing(&path.join("missing")));
    assert!(!holds_nothing(path), "nobody has ever looked");
    // Short enough to be closed without an outline, and long enough to be closed with one.
    for count in [1, 10] {
        let store = subject.open(path).await;
        append(&*store, &name, 0..count, 100_000).await;
        assert!(!holds_nothing(path), "{count}: it is open");
        let killed = TempDir::new().unwrap();
        copy(path, killed.path());
        assert!(!holds_nothing(killed.path()), "{count}: it was killed");
        store.close().await.unwrap();
        assert!(!holds_nothing(path), "{count}: it is full");

        let store = subject.open(path).await;
        delete_all(&*store, &name).await;
        store.close().await.unwrap();
        assert!(holds_nothing(path), "{count}: it is empty");
        subject.open(path).await.close().await.unwrap();
        assert!(holds_nothing(path), "{count}: it was opened and closed");
    }
    change(&path.join(MARK), |bytes| bytes[40] ^= 1);
    assert!(!holds_nothing(path), "the mark is damaged");
}
