//! Opening, closing and sharing the directory of a sled store, and the disk it takes.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use record_cache::{Durability, RecordStore, Settlement, SledStore, StoreError};
use sled_support::{
    assert_no_blobs, copy, disk_usage, generation, limits, numbers, open, open_fast, read_all,
    record, settled_down, stream,
};
use tempfile::TempDir;

const HOLDER: &str = "SLED_OPEN_HOLDER";

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_directory_has_one_user_in_a_process() {
    let place = TempDir::new().unwrap();
    let first = open(place.path()).await;
    first
        .append(vec![record(&stream("a"), 1, 10)])
        .await
        .unwrap();
    let second = SledStore::open(place.path()).await;
    let Err(StoreError::InUse { path, .. }) = second else {
        unreachable!("{second:?}");
    };
    assert_eq!(path, place.path());
    // The first user is not disturbed.
    first
        .append(vec![record(&stream("a"), 2, 10)])
        .await
        .unwrap();
    assert_eq!(numbers(&read_all(&first, &stream("a")).await), [1, 2]);
    first.close().await.unwrap();
    open(place.path()).await.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_has_one_user_among_processes() {
    if let Ok(path) = std::env::var(HOLDER) {
        let store = open(Path::new(&path)).await;
        store
            .append(vec![record(&stream("a"), 1, 10)])
            .await
            .unwrap();
        println!("holding");
        std::future::pending::<()>().await;
    }
    let place = TempDir::new().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_directory_has_one_user_among_processes",
            "--nocapture",
        ])
        .env(HOLDER, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    let refused = SledStore::open(place.path()).await;
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    let store = open(place.path()).await;
    assert_eq!(numbers(&read_all(&store, &stream("a")).await), [1]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_can_be_opened_again_at_once() {
    let place = TempDir::new().unwrap();
    for n in 0..50 {
        let store = open(place.path()).await;
        assert_eq!(store.stats().records(), usize::try_from(n).unwrap());
        store
            .append(vec![record(&stream("a"), n, 100)])
            .await
            .unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_store_lets_go_of_its_directory() {
    let place = TempDir::new().unwrap();
    for n in 0..20 {
        let store = loop {
            match SledStore::open(place.path()).await {
                Ok(store) => break store,
                Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => unreachable!("{error}"),
            }
        };
        store
            .append(vec![record(&stream("a"), n, 100)])
            .await
            .unwrap();
        let held = numbers(&read_all(&store, &stream("a")).await);
        assert_eq!(held, (0..=n).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn another_version_is_refused_and_left_alone() {
    let place = TempDir::new().unwrap();
    let store = open(place.path()).await;
    store
        .append(vec![record(&stream("a"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    let manifest = place.path().join("manifest");
    let facts = "record-cache 7\nanything\n";
    let checksum = crc32c::crc32c(facts.as_bytes());
    let original = fs::read(&manifest).unwrap();
    fs::write(&manifest, format!("{facts}crc32c {checksum:08x}\n")).unwrap();
    let before = TempDir::new().unwrap();
    copy(place.path(), before.path());

    let refused = SledStore::open(place.path()).await;
    let Err(error @ StoreError::Incompatible { .. }) = refused else {
        unreachable!("{refused:?}");
    };
    assert!(error.to_string().contains("version 7"), "{error}");
    let difference = Command::new("diff")
        .arg("-r")
        .args([before.path(), place.path()])
        .output()
        .unwrap();
    assert!(difference.status.success(), "{difference:?}");

    fs::write(&manifest, original).unwrap();
    let store = open(place.path()).await;
    assert_eq!(numbers(&read_all(&store, &stream("a")).await), [1]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("db"), "not ours").unwrap();
    fs::write(place.path().join("conf"), "not ours").unwrap();
    let refused = SledStore::open(place.path()).await;
    assert!(
        matches!(refused, Err(StoreError::Incompatible { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(place.path().join("db")).unwrap(), b"not ours");
}

#[tokio::test]
async fn what_cannot_be_a_directory_is_refused() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "here").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = SledStore::open(&path).await;
        let Err(error @ StoreError::Unavailable { .. }) = refused else {
            unreachable!("{refused:?}");
        };
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}

fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let expected = if path.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}

#[tokio::test]
async fn only_the_owner_may_read_anything() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("made/on/the/way");
    for _ in 0..3 {
        // The second opening writes a snapshot, the third meets damage.
        let store = open(&path).await;
        store
            .append(vec![record(&stream("a"), 1, 10)])
            .await
            .unwrap();
        assert_private(&place.path().join("made"));
        store.close().await.unwrap();
        assert_private(&place.path().join("made"));
    }
    fs::write(generation(&path).join("db"), [0x61; 9_000]).unwrap();
    let store = open(&path).await;
    assert!(store.stats().damaged_records > 0);
    assert_private(&place.path().join("made"));
    store.close().await.unwrap();
}

/// Appends `calls` times 40 records of 1,000 bytes and deletes them again.
async fn churn(store: &SledStore, name: &str, calls: u64) {
    let name = stream(name);
    for call in 0..calls {
        let after = read_all(store, &name)
            .await
            .records
            .last()
            .map(|last| last.id);
        let new = (0..40).map(|n| record(&name, call * 40 + n, 984));
        store.append(new.collect()).await.unwrap();
        let found = store.oldest(&name, after, limits(100)).await.unwrap();
        assert_eq!(found.records.len(), 40);
        let ids = found.records.iter().map(|record| record.id);
        let settlement = Settlement::new(name.clone()).delete(ids);
        assert_eq!(store.settle(settlement).await.unwrap().records, 40);
    }
}

#[tokio::test]
async fn disk_is_bounded_beside_a_stream_that_stands_still() {
    let place = TempDir::new().unwrap();
    let cap = MIB;
    let builder = SledStore::builder(place.path()).durability(Durability::ProcessCrash);
    let store = Arc::new(builder.expected_bytes(cap).open().await.unwrap());
    // A record of the one that stands still between those that come and go.
    let still = stream("still");
    for round in 0..400 {
        store
            .append(vec![record(&still, round, 2_000)])
            .await
            .unwrap();
        churn(&store, "busy", 2).await;
        let usage = disk_usage(place.path());
        assert!(usage <= 6 * cap + 8 * MIB, "round {round}: {usage}");
    }
    settled_down(&store).await;
    let usage = disk_usage(place.path());
    assert!(usage <= 4 * cap + 4 * MIB, "{usage}");
    let held = numbers(&read_all(store.as_ref(), &still).await);
    assert_eq!(held, (0..400).collect::<Vec<_>>());
    assert_no_blobs(place.path());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_empty_store_gives_the_disk_back() {
    let place = TempDir::new().unwrap();
    let store = open_fast(place.path()).await;
    let name = stream("a");
    let records = (0..6_000).map(|n| record(&name, n, 1_000));
    store.append(records.collect()).await.unwrap();
    settled_down(&store).await;
    let full = disk_usage(place.path());
    assert!(full > 6 * MIB, "{full}");
    let held = read_all(&store, &name).await.records;
    let ids = held.iter().map(|record| record.id);
    store
        .settle(Settlement::new(name.clone()).delete(ids))
        .await
        .unwrap();
    settled_down(&store).await;
    let empty = disk_usage(place.path());
    assert!(empty < 2 * MIB, "{empty}");

    // The ids go on where they were, in this life and in the next.
    store.append(vec![record(&name, 1, 10)]).await.unwrap();
    let last = held.last().unwrap().id;
    let next = read_all(&store, &name).await.records[0].id;
    assert!(next > last, "{next:?} after {last:?}");
    store.clear().await.unwrap();
    store.close().await.unwrap();
    let store = open_fast(place.path()).await;
    store.append(vec![record(&name, 2, 10)]).await.unwrap();
    let after_all = read_all(&store, &name).await.records[0].id;
    assert!(after_all > next, "{after_all:?} after {next:?}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_replacement_that_was_cut_short_is_begun_again() {
    let place = TempDir::new().unwrap();
    let store = open_fast(place.path()).await;
    let name = stream("a");
    store.append(vec![record(&name, 1, 10)]).await.unwrap();
    let old = generation(place.path());
    let saved = TempDir::new().unwrap();
    copy(&old, &saved.path().join("old"));
    let last = read_all(&store, &name).await.records[0].id;
    store.clear().await.unwrap();
    store.close().await.unwrap();
    let new = generation(place.path());
    assert_ne!(new, old);

    // The manifest named the new one; the old one was still there, the new one not yet.
    fs::remove_dir_all(&new).unwrap();
    fs::remove_file(place.path().join("mark")).unwrap();
    copy(&saved.path().join("old"), &old);
    let store = open_fast(place.path()).await;
    let stats = store.stats();
    assert_eq!((stats.records(), stats.damaged_records), (0, 0));
    assert_eq!(generation(place.path()), new);
    store.append(vec![record(&name, 2, 10)]).await.unwrap();
    assert!(read_all(&store, &name).await.records[0].id > last);
    store.close().await.unwrap();

    // Or it had been begun, and was not whole.
    let store = open_fast(place.path()).await;
    store.clear().await.unwrap();
    store.close().await.unwrap();
    let new = generation(place.path());
    fs::write(new.join("db"), []).unwrap();
    let store = open_fast(place.path()).await;
    assert_eq!(store.stats().damaged_records, 0);
    store.append(vec![record(&name, 3, 10)]).await.unwrap();
    assert_eq!(numbers(&read_all(&store, &name).await), [3]);
    store.close().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn writes_wait_for_the_device_only_where_power_may_fail() {
    for (durability, expected) in [
        (Durability::PowerLoss, true),
        (Durability::ProcessCrash, false),
        (Durability::PowerLoss, true),
    ] {
        let place = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for _ in 0..2 {
            let builder = SledStore::builder(place.path()).durability(durability);
            let store = builder.open().await.unwrap();
            let file = fs::File::open(generation(place.path()).join("db")).unwrap();
            // Not every file system knows the attribute; the store does without, then.
            if let Ok(flags) = rustix::fs::ioctl_getflags(&file) {
                assert_eq!(flags.contains(rustix::fs::IFlags::SYNC), expected);
            }
            store.close().await.unwrap();
        }
    }
}
