//! Which directories the program accepts: a cache, slots of caches, and its errors for others.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::{assert_refused, leave, lines, open, records, run, text};

#[tokio::test]
async fn all_slots_of_a_default_directory_are_shown() {
    let directory = TempDir::new().unwrap();
    for slot in ["slot-0", "slot-3"] {
        leave("sled", &directory.path().join(slot), 2).await;
    }
    let stats = lines(&run(&["stats", "--json"], directory.path()));
    assert_eq!(stats.len(), 2);
    assert!(stats[1]["directory"].as_str().unwrap().ends_with("slot-3"));
}

#[tokio::test]
async fn no_slot_is_cleared_if_a_client_uses_one_of_them() {
    let directory = TempDir::new().unwrap();
    let slots = ["slot-0", "slot-1"].map(|slot| directory.path().join(slot));
    let idle = open("sled", &slots[0]).await;
    let used = open("sled", &slots[1]).await;
    for store in [&idle, &used] {
        store.append(records("orders", 2)).await.unwrap();
    }
    idle.close().await.unwrap();
    let refused = run(&["clear", "--yes"], directory.path());
    assert_refused(&refused, "slot-1: a client is at work here");
    let stats = lines(&run(&["stats", "--json"], directory.path()));
    let held: Vec<_> = stats.iter().map(|slot| slot["records"].as_u64()).collect();
    assert_eq!(held, [Some(2); 2]);

    used.close().await.unwrap();
    let cleared = run(&["clear", "--yes"], directory.path());
    assert_eq!(text(&cleared).matches(": 2 records deleted").count(), 2);
}

#[tokio::test]
async fn a_slot_that_was_never_opened_is_passed_over() {
    let directory = TempDir::new().unwrap();
    leave("sled", &directory.path().join("slot-1"), 2).await;
    fs::create_dir(directory.path().join("slot-0")).unwrap();
    fs::create_dir(directory.path().join("slot-2")).unwrap();
    fs::write(directory.path().join("slot-2/lock"), "").unwrap();
    let stats = lines(&run(&["stats", "--json"], directory.path()));
    assert_eq!(stats.len(), 1, "{stats:?}");
    let cleared = run(&["clear", "--yes"], directory.path());
    assert!(cleared.status.success(), "{}", text(&cleared));
    let left = fs::read_dir(directory.path().join("slot-0")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_new_store_and_one_of_which_nothing_can_be_read_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let store = open("journal", directory.path()).await;
    let stats = &lines(&run(&["stats", "--json"], directory.path()))[0];
    assert_eq!(stats["records"], 0, "{stats}");
    store.append(records("orders", 2)).await.unwrap();
    store.close().await.unwrap();

    fs::remove_file(directory.path().join("journal-mark")).unwrap();
    fs::write(directory.path().join("0000000000.journal"), vec![7; 10_000]).unwrap();
    let verified = run(&["verify", "--json"], directory.path());
    let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(found["unreadable_segments"], 1, "{found}");
    assert_eq!(verified.status.code(), Some(1));
}

#[tokio::test]
async fn caches_below_a_directory_are_named() {
    let home = TempDir::new().unwrap();
    for below in ["app/kinesis_records_us-east-1/slot-0", "other/cache"] {
        let store = open("sled", &home.path().join(below)).await;
        store.close().await.unwrap();
    }
    for command in ["stats", "peek", "export", "verify", "clear"] {
        let refused = run(&[command], home.path());
        assert_refused(&refused, "not a record cache, but");
        let message = text(&refused);
        let named = ["app/kinesis_records_us-east-1", "other/cache"].map(|below| {
            let below = PathBuf::from_iter(below.split('/'));
            message.contains(&format!("{}\n", below.display()))
        });
        assert_eq!(named, [true; 2], "{message}");
        assert!(!message.contains("slot-0"), "{message}");
    }
}

#[test]
fn what_is_no_cache_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    for command in [&["stats"][..], &["clear", "--yes"]] {
        assert_refused(&run(command, directory.path()), "not a record cache");
    }
    let gone = run(&["stats"], &directory.path().join("gone"));
    // The system's own message follows.
    assert_refused(&gone, "cannot read: path=");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
