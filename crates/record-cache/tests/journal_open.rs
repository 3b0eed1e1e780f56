//! Who may open a directory, and what is made in it.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use journal_support::{Numbers, disk_usage, limits, open, read_all, record, segments, stream};
use record_cache::{Durability, JournalStore, NewRecord, RecordStore, Settlement, StoreError};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_directory_has_one_user_at_a_time() {
    let place = TempDir::new().unwrap();
    let store = open(place.path()).await;
    let second = JournalStore::open(place.path()).await;
    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    store
        .append(vec![record(&stream("s"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    let second = open(place.path()).await;
    assert_eq!(second.stats().records(), 1, "the first was not disturbed");
    second.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_store_releases_its_directory() {
    let place = TempDir::new().unwrap();
    drop(open(place.path()).await);
    let mut tries = 0;
    while let Err(error) = JournalStore::open(place.path()).await {
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        tries += 1;
        assert!(tries < 10_000, "it is never released");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn files_are_private() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("made/for/it");
    let store = open(&path).await;
    store
        .append(vec![record(&stream("s"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    for made in ["made", "made/for", "made/for/it"] {
        assert_eq!(mode(&place.path().join(made)), 0o700, "{made}");
    }
    let files: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "lock, mark and segment");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_foreign_directory_is_left_as_it_is() {
    for foreign in [
        "manifest",
        "gen-00000000-0000000000000000",
        "db",
        "notes.txt",
    ] {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join(foreign), "something").unwrap();
        let refused = JournalStore::open(place.path()).await;
        let Err(StoreError::Incompatible { found, .. }) = refused else {
            panic!("{foreign}: {refused:?}");
        };
        assert!(found.contains(foreign), "{found}");
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            1,
            "nothing was added"
        );
    }
}

#[tokio::test]
async fn another_version_is_left_as_it_is() {
    for of_the_mark in [true, false] {
        let place = TempDir::new().unwrap();
        let store = open(place.path()).await;
        store
            .append(vec![record(&stream("s"), 1, 10)])
            .await
            .unwrap();
        store.close().await.unwrap();
        let file = if of_the_mark {
            place.path().join("journal-mark")
        } else {
            segments(place.path())[0].clone()
        };
        let mut bytes = fs::read(&file).unwrap();
        bytes[8] = 2;
        let checksum = crc32c_of(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        let refused = JournalStore::open(place.path()).await;
        let Err(StoreError::Incompatible { found, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(found.contains("version 2"), "{found}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "untouched");
    }
}

/// Bit by bit, so that the test does not share the store's arithmetic.
fn crc32c_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[tokio::test]
async fn a_place_where_no_directory_can_be_is_unavailable() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = JournalStore::open(&path).await;
        let Err(error @ StoreError::Unavailable { .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("file"), "{error}");
    }
}

#[tokio::test]
async fn ids_grow_after_a_clear_and_a_crash() {
    let place = TempDir::new().unwrap();
    let name = stream("cleared");
    let store = open(place.path()).await;
    store
        .append((0..5).map(|n| record(&name, n, 10)).collect())
        .await
        .unwrap();
    let last = read_all(&store, &name).await.records[4].id;
    store.clear().await.unwrap();
    let crashed = TempDir::new().unwrap();
    journal_support::copy(place.path(), crashed.path());
    store.close().await.unwrap();
    let store = open(crashed.path()).await;
    assert_eq!(store.stats().records(), 0);
    store.append(vec![record(&name, 7, 10)]).await.unwrap();
    assert!(read_all(&store, &name).await.records[0].id > last);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_disk_is_bounded_under_churn_and_given_back() {
    const SEGMENT: u64 = 4 << 20;
    let place = TempDir::new().unwrap();
    let builder = JournalStore::builder(place.path()).durability(Durability::ProcessCrash);
    let store = builder.open().await.unwrap();
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
        let held = store.oldest(&busy, None, limits(60)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        store
            .settle(Settlement::new(busy.clone()).delete(ids))
            .await
            .unwrap();
        let live = store.stats().bytes();
        let used = disk_usage(place.path());
        assert!(
            used <= 2 * live + 2 * SEGMENT,
            "round {round}: {used} bytes for {live}"
        );
        most = most.max(used);
    }
    assert!(most > 2 * SEGMENT, "several segments were in use: {most}");
    assert_eq!(
        read_all(&store, &stalled).await.records.len(),
        500 * 6,
        "the stalled ones stay"
    );
    for name in [&stalled, &busy] {
        let ids: Vec<_> = read_all(&store, name)
            .await
            .records
            .iter()
            .map(|r| r.id)
            .collect();
        store
            .settle(Settlement::new(name.clone()).delete(ids))
            .await
            .unwrap();
    }
    // Tidying follows the answer; the next call comes behind it.
    store.settle(Settlement::new(busy)).await.unwrap();
    store.append(Vec::new()).await.unwrap();
    store.close().await.unwrap();
    assert!(
        disk_usage(place.path()) <= SEGMENT + (128 << 10),
        "one segment when empty"
    );
}
