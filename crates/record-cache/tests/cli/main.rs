//! The program `record-cache`: its output, its use beside a running store, and that it changes
//! nothing unless told to.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod directories;

use std::collections::BTreeMap;
use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::SystemTime;

use record_cache::inspect::Inspection;
use record_cache::{
    Durability, JournalStore, NewRecord, ReadLimits, RecordId, RecordStore, Settlement, SledStore,
    StreamName,
};
use serde_json::Value;
use tempfile::TempDir;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn records(name: &str, count: usize) -> Vec<NewRecord> {
    let record = |n| {
        let key = Some(format!("key-{n}"));
        NewRecord::new(stream(name), key, format!("payload {n}"))
    };
    (0..count).map(record).collect()
}

fn run(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_record-cache"));
    let (first, others) = arguments.split_first().unwrap();
    command.arg(first).arg(directory).args(others);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

fn assert_refused(output: &Output, because: &str) {
    assert_eq!(output.status.code(), Some(2));
    let message = text(output);
    assert!(message.contains(because), "{message}");
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(output));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

/// Everything that would show a change: names, sizes, contents and modification times.
fn everything(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, (Vec::new(), written));
        } else {
            found.insert(path.clone(), (fs::read(&path).unwrap(), written));
        }
    }
    found
}

async fn open(kind: &str, path: &Path) -> Box<dyn RecordStore> {
    match kind {
        "sled" => Box::new(SledStore::open(path).await.unwrap()),
        _ => Box::new(JournalStore::open(path).await.unwrap()),
    }
}

/// A cache of a closed store that holds some orders.
async fn closed(kind: &str, orders: usize) -> TempDir {
    let directory = TempDir::new().unwrap();
    leave(kind, directory.path(), orders).await;
    directory
}

/// Opens a store, appends some orders, and closes it.
async fn leave(kind: &str, path: &Path, orders: usize) {
    let store = open(kind, path).await;
    store.append(records("orders", orders)).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_of_either_kind_is_shown_while_it_is_at_work_and_after() {
    for kind in ["sled", "journal"] {
        let directory = TempDir::new().unwrap();
        let store = open(kind, directory.path()).await;
        store.append(records("orders", 5)).await.unwrap();
        store.append(records("clicks", 2)).await.unwrap();
        let step = Settlement::new(stream("orders")).delete([RecordId::new(0)]);
        let step = step.count_attempt([RecordId::new(1)]);
        store.settle(step).await.unwrap();

        for state in ["at work", "closed"] {
            let stats = &lines(&run(&["stats", "--json"], directory.path()))[0];
            assert_eq!(stats["records"], 6, "{kind}, {state}: {stats}");
            assert_eq!(stats["streams"][1]["stream"], "orders");
            assert_eq!(stats["streams"][1]["records"], 4);
            assert_eq!(stats["is_closed"], state == "closed", "{kind}");
            assert!(stats["streams"][1]["oldest_at_ms"].as_u64() > Some(0));
            let table = text(&run(&["stats"], directory.path()));
            let has_both = table.contains("orders") && table.contains("clicks");
            assert!(has_both, "{table}");

            let peek = ["peek", "--json", "--stream", "orders", "--limit", "2"];
            let peeked = lines(&run(&peek, directory.path()));
            assert_eq!(peeked.len(), 2);
            assert_eq!(peeked[0]["id"], 1);
            assert_eq!(peeked[0]["attempts"], 1);
            let exported = lines(&run(&["export", "--payloads"], directory.path()));
            let texts = exported.iter().map(|record| record["text"].as_str());
            let texts: Vec<_> = texts.map(Option::unwrap).collect();
            let expected = [0, 1, 1, 2, 3, 4].map(|n| format!("payload {n}"));
            assert_eq!(texts, expected);
            let none = run(&["peek", "--stream", "nope"], directory.path());
            assert_refused(&none, "no records for stream `nope`");
            let is_open = table.contains("not closed: a client is using it");
            assert_eq!(is_open, state == "at work", "{table}");
            let verified = run(&["verify"], directory.path());
            assert!(verified.status.success(), "{}", text(&verified));
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn keys_and_payloads_are_shown_only_when_asked_for() {
    let directory = TempDir::new().unwrap();
    let store = open("journal", directory.path()).await;
    let hashed = records("orders", 3)
        .into_iter()
        .map(|record| record.with_explicit_hash_key(Some(12345)));
    store.append(hashed.collect()).await.unwrap();
    for command in [
        &["stats"][..],
        &["stats", "--json"],
        &["peek"],
        &["peek", "--json"],
        &["export"],
        &["verify"],
    ] {
        let shown = text(&run(command, directory.path()));
        let is_shown = |secret: &str| shown.contains(secret);
        let shows_any = ["payload", "key", "12345"].into_iter().any(is_shown);
        assert!(!shows_any, "{command:?}: {shown}");
    }
    let shown = text(&run(&["peek", "--payloads"], directory.path()));
    let shows_both = shown.contains("payload 0") && shown.contains("key-0");
    assert!(shows_both, "{shown}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_hash_key_is_exported_as_text_so_that_no_digit_is_lost() {
    let directory = TempDir::new().unwrap();
    let store = open("journal", directory.path()).await;
    let hashed = records("orders", 2)
        .into_iter()
        .zip([Some(u128::MAX), None]);
    let hashed = hashed.map(|(record, hash_key)| record.with_explicit_hash_key(hash_key));
    store.append(hashed.collect()).await.unwrap();
    store.close().await.unwrap();

    let digits = u128::MAX.to_string();
    let exported = lines(&run(&["export", "--payloads"], directory.path()));
    assert_eq!(exported[0]["explicit_hash_key"], digits, "{}", exported[0]);
    assert_eq!(exported[1].get("explicit_hash_key"), None);
    let peeked = text(&run(&["peek", "--payloads"], directory.path()));
    let hash_key = format!("key=\"key-0\" hash_key={digits} ");
    assert!(peeked.contains(&hash_key), "{peeked}");
    assert_eq!(peeked.matches("hash_key").count(), 1, "{peeked}");
}

#[tokio::test]
async fn looking_changes_nothing() {
    for kind in ["sled", "journal"] {
        let directory = closed(kind, 100).await;
        // A damaged outline, which opening the store would truncate.
        let segment = directory.path().join("0000000000.journal");
        let bytes = fs::read(&segment).unwrap();
        fs::write(&segment, &bytes[..bytes.len() - 3]).unwrap();

        let before = everything(directory.path());
        for command in [
            &["stats"][..],
            &["peek"],
            &["export", "--payloads"],
            &["verify"],
            &["clear"],
        ] {
            run(command, directory.path());
        }
        assert_eq!(everything(directory.path()), before, "{kind}");
    }
}

#[tokio::test]
async fn damage_is_found_and_the_rest_is_exported() {
    let directory = closed("journal", 10).await;
    let segment = directory.path().join("0000000000.journal");
    let mut bytes = fs::read(&segment).unwrap();
    let mut windows = bytes.windows(9);
    let at = windows.position(|window| window == b"payload 4");
    bytes[at.unwrap()] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let verified = run(&["verify", "--json"], directory.path());
    assert_eq!(verified.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(found["is_sound"], false);
    assert_eq!(found["damaged_records"], 1, "{found}");
    let exported = run(&["export", "--payloads"], directory.path());
    let shown = text(&exported);
    assert_eq!(shown.matches("payload").count(), 9, "{shown}");
    assert!(shown.contains("left out 1 damaged record\n"), "{shown}");
}

#[tokio::test]
async fn records_that_vanished_are_missed() {
    let directory = closed("journal", 10).await;
    fs::remove_file(directory.path().join("0000000000.journal")).unwrap();
    let verified = run(&["verify", "--json"], directory.path());
    let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(found["missing_records"], 10, "{found}");
}

#[tokio::test]
async fn clearing_needs_a_word_and_a_directory_that_nobody_uses() {
    let directory = TempDir::new().unwrap();
    let store = open("sled", directory.path()).await;
    store.append(records("orders", 10)).await.unwrap();
    let refused = run(&["clear", "--yes"], directory.path());
    assert_refused(&refused, "a client is at work here");
    assert_eq!(store.stats().records(), 10);
    store.close().await.unwrap();

    let asked = run(&["clear"], directory.path());
    assert_refused(&asked, "10 records");
    assert_refused(&asked, "--yes");
    let cleared = text(&run(&["clear", "--yes"], directory.path()));
    assert!(cleared.contains("10 records deleted"), "{cleared}");
    let left = Inspection::read(directory.path()).unwrap().stats();
    assert_eq!(left.records(), 0);
}

#[tokio::test]
async fn a_store_that_is_open_again_and_has_written_nothing_is_not_said_to_be_closed() {
    let directory = closed("journal", 1).await;
    let store = open("journal", directory.path()).await;
    let shown = text(&run(&["stats"], directory.path()));
    let line = "; nothing was written since it was last closed, or created\n";
    assert!(shown.contains(line), "{shown}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn peeking_at_no_records_shows_none() {
    let directory = closed("journal", 5).await;
    let peeked = run(&["peek", "--limit", "0"], directory.path());
    assert!(peeked.status.success(), "{}", text(&peeked));
    assert_eq!(text(&peeked), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_beside_a_busy_store_is_whole_and_in_order() {
    let directory = TempDir::new().unwrap();
    let builder = JournalStore::builder(directory.path()).durability(Durability::ProcessCrash);
    let store = Arc::new(builder.open().await.unwrap());
    let busy = Arc::clone(&store);
    let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    // Fills segments and empties them until they are deleted, again and again.
    let writer = tokio::spawn(async move {
        for _ in 0..60 {
            let record = |_| NewRecord::new(stream("orders"), None, vec![7; 100_000]);
            busy.append((0..20).map(record).collect()).await.unwrap();
            let old = busy.oldest(&stream("orders"), None, all).await.unwrap();
            let ids = old.records.iter().rev().skip(15).map(|record| record.id);
            let settled = Settlement::new(stream("orders")).delete(ids);
            busy.settle(settled).await.unwrap();
        }
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let mut seen = Inspection::read(directory.path()).unwrap();
        let condition = seen.condition();
        let bad = (condition.missing_records, condition.damaged_places);
        assert_eq!(bad, (0, 0), "{condition:?}");
        let batch = seen.oldest(&stream("orders"), None, all).unwrap().batch;
        assert_eq!(batch.damaged.records, 0);
        assert!(batch.records.is_sorted_by_key(|record| record.id));
        let mut records = batch.records.iter();
        assert!(records.all(|record| record.data == vec![7; 100_000]));
        looks += 1;
    }
    writer.await.unwrap();
    store.close().await.unwrap();
}
