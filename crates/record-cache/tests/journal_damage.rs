//! What a journal makes of files that are cut short, changed or gone.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use journal_support::{
    Numbers, SEGMENT_HEADER, copy, in_memory, number_of, numbers, open, open_fast, read_all,
    record, segments, stream, times,
};
use record_cache::{RecordStore, Settlement};
use tempfile::TempDir;

fn short(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// A store with a few calls, and how long its segment was when each had returned.
async fn a_few_calls(path: &Path) -> Vec<(u64, Vec<u64>)> {
    let store = open_fast(path).await;
    let name = stream("torn");
    let mut calls = Vec::new();
    for call in 0..4_u64 {
        let ids: Vec<u64> = (call * 10..call * 10 + 1 + call % 3).collect();
        let records = ids
            .iter()
            .map(|&n| record(&name, n, 5 + short(9 * n % 30)))
            .collect();
        store.append(records).await.unwrap();
        calls.push((fs::metadata(&segments(path)[0]).unwrap().len(), ids));
    }
    // Left as it is: the process crashes here.
    copy(path, &path.join("crashed"));
    store.close().await.unwrap();
    calls
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_costs_the_last_calls_only() {
    let place = in_memory();
    let calls = a_few_calls(place.path()).await;
    let crashed = place.path().join("crashed");
    let whole = fs::read(&segments(&crashed)[0]).unwrap();
    for end in SEGMENT_HEADER..=whole.len() {
        for ending in ["cut", "zeros", "garbage"] {
            let context = format!("{ending} at {end}");
            if ending != "cut" && end % 3 != 0 {
                continue;
            }
            let mut torn = whole[..end].to_vec();
            if ending != "cut" {
                torn.resize(whole.len(), if ending == "zeros" { 0 } else { 0xa6 });
            }
            let place = in_memory();
            copy(&crashed, place.path());
            fs::write(&segments(place.path())[0], torn).unwrap();

            let store = open_fast(place.path()).await;
            // The bytes of a frame that only pad it may be lost without harm.
            let expected = |slack: u64| -> Vec<u64> {
                let whole = calls
                    .iter()
                    .filter(|(length, _)| *length <= end as u64 + slack);
                whole.flat_map(|(_, ids)| ids.clone()).collect()
            };
            let found = read_all(&store, &stream("torn")).await;
            assert_eq!(found.damaged.records, 0, "{context}");
            let found = numbers(&found);
            assert!(
                found == expected(0) || found == expected(7),
                "{context}: {found:?}"
            );
            assert_eq!(store.stats().damaged_records, 0, "{context}");
            store
                .append(vec![record(&stream("torn"), 99, 20)])
                .await
                .unwrap();
            store.close().await.unwrap();
            let store = open_fast(place.path()).await;
            let again = numbers(&read_all(&store, &stream("torn")).await);
            assert_eq!(again, [&found[..], &[99]].concat(), "{context}");
            assert_eq!(store.stats().damaged_records, 0, "{context}");
            store.close().await.unwrap();
        }
    }
}

/// A store with records in several streams, some of them settled.
struct Sample {
    place: TempDir,
    live: BTreeSet<u64>,
    settled: BTreeSet<u64>,
}

const STREAMS: [&str; 3] = ["one", "two", "three"];

fn stream_of(number: u64) -> &'static str {
    STREAMS[usize::try_from(number % 3).unwrap()]
}

async fn sample(records: u64, length: usize, closed: bool) -> Sample {
    let work = in_memory();
    let store = open_fast(work.path()).await;
    let mut live = BTreeSet::new();
    let mut settled = BTreeSet::new();
    for call in 0..records / 5 {
        let ids = call * 5..call * 5 + 5;
        live.extend(ids.clone());
        let records = ids.map(|n| record(&stream(stream_of(n)), n, length + short(n % 90)));
        store.append(records.collect()).await.unwrap();
        if call % 7 == 3 {
            let name = stream("two");
            let held = store
                .oldest(&name, None, journal_support::limits(6))
                .await
                .unwrap();
            let done: Vec<_> = held.records.iter().step_by(2).collect();
            for record in &done {
                live.remove(&number_of(record));
                settled.insert(number_of(record));
            }
            let ids = done.iter().map(|record| record.id);
            store
                .settle(Settlement::new(name).delete(ids))
                .await
                .unwrap();
        }
    }
    let place = in_memory();
    if closed {
        store.close().await.unwrap();
    }
    copy(work.path(), place.path());
    store.close().await.unwrap();
    Sample {
        place,
        live,
        settled,
    }
}

struct Outcome {
    lost: usize,
    counted: u64,
    back: usize,
}

/// Opens a damaged copy, reads all of it, and checks what must hold whatever the damage.
async fn examine(sample: &Sample, context: &str, damage: impl FnOnce(&Path)) -> Outcome {
    let place = in_memory();
    copy(sample.place.path(), place.path());
    damage(place.path());
    let store = open(place.path()).await;
    let mut found = BTreeMap::new();
    let mut reported = 0;
    let at_open = store.stats().damaged_records;
    for name in STREAMS {
        let batch = read_all(&store, &stream(name)).await;
        reported += batch.damaged.records as u64;
        let numbers = numbers(&batch);
        assert!(numbers.is_sorted(), "{context}: the order is kept");
        for number in numbers {
            assert_eq!(stream_of(number), name, "{context}: in its own stream");
            assert!(found.insert(number, ()).is_none(), "{context}: once");
        }
    }
    let counted = store.stats().damaged_records;
    assert_eq!(
        counted,
        at_open + reported,
        "{context}: what is dropped is reported"
    );
    let known = |number: &&u64| sample.live.contains(number) || sample.settled.contains(number);
    assert!(
        found.keys().all(|number| known(&number)),
        "{context}: nothing is invented"
    );
    let lost = sample
        .live
        .iter()
        .filter(|number| !found.contains_key(number))
        .count();
    let back = sample
        .settled
        .iter()
        .filter(|number| found.contains_key(number))
        .count();
    assert_eq!(store.stats().records(), found.len(), "{context}");

    // It goes on, and the damage is not reported a second time.
    store
        .append(vec![record(&stream("afterwards"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = open(place.path()).await;
    assert_eq!(
        store.stats().records(),
        found.len() + 1,
        "{context}: once more"
    );
    assert_eq!(
        store.stats().damaged_records,
        0,
        "{context}: damage is counted once"
    );
    for name in STREAMS {
        assert_eq!(
            read_all(&store, &stream(name)).await.damaged.records,
            0,
            "{context}"
        );
    }
    store.close().await.unwrap();
    Outcome {
        lost,
        counted,
        back,
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_costs_one_record_at_most() {
    for closed in [true, false] {
        let sample = sample(200, 60, closed).await;
        let mut random = Numbers::new(5);
        let (mut losses, mut resurrections) = (0, 0);
        for trial in 0..times("JOURNAL_DAMAGE_TRIALS", 200) {
            let context = format!("closed {closed}, trial {trial}");
            let outcome = examine(&sample, &context, |path| {
                change(&segments(path)[0], |bytes| {
                    let bit = random.below(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                });
            })
            .await;
            assert!(
                outcome.lost <= 1 || !closed,
                "{context}: {} lost",
                outcome.lost
            );
            // Without a clean end, damage in the last calls looks like a torn write: a
            // call is there as a whole or not at all.
            assert!(outcome.lost <= 5, "{context}: {} lost", outcome.lost);
            if closed {
                assert_eq!(outcome.counted, outcome.lost as u64, "{context}: counted");
            }
            losses += outcome.lost;
            resurrections += outcome.back;
        }
        assert!(
            losses > 20,
            "the damage did some harm: {losses}, {resurrections}"
        );
    }
}

#[tokio::test]
async fn pages_of_zeros_cost_what_was_in_them() {
    let sample = sample(1000, 100, true).await;
    let mut random = Numbers::new(6);
    for trial in 0..times("JOURNAL_DAMAGE_TRIALS", 100) {
        let context = format!("trial {trial}");
        let outcome = examine(&sample, &context, |path| {
            change(&segments(path)[0], |bytes| {
                let page = random.below(bytes.len() / 4096) * 4096;
                bytes[page..page + 4096].fill(0);
            });
        })
        .await;
        assert!(
            outcome.lost <= 4096 / 150 + 2,
            "{context}: {} lost",
            outcome.lost
        );
        // A record may be counted that was settled, if the page said that too.
        let counted = usize::try_from(outcome.counted).unwrap();
        assert!(
            (outcome.lost..=outcome.lost + 6).contains(&counted),
            "{context}: {counted}"
        );
    }
}

#[tokio::test]
async fn a_file_cut_short_costs_what_was_behind() {
    let sample = sample(600, 100, true).await;
    let mut random = Numbers::new(7);
    for trial in 0..times("JOURNAL_DAMAGE_TRIALS", 100) {
        let context = format!("trial {trial}");
        let mut left = 0;
        let outcome = examine(&sample, &context, |path| {
            change(&segments(path)[0], |bytes| {
                left = random.below(bytes.len());
                bytes.truncate(left);
            });
        })
        .await;
        let kept = sample.live.len() - outcome.lost;
        assert!(
            kept + 40 >= left / 260,
            "{context}: {kept} kept of {left} bytes"
        );
        // What was settled behind the cut is there again, and is not lost.
        assert!(outcome.counted >= outcome.lost as u64, "{context}: counted");
    }
}

/// Where the outline of a segment begins, if it has one: its last 48 bytes say so.
fn outline_at(bytes: &[u8]) -> Option<usize> {
    let trailer = bytes.len().checked_sub(48).map(|at| &bytes[at..])?;
    trailer.starts_with(b"\x89rc-idx\n").then(|| {
        let end: [u8; 8] = trailer[24..32].try_into().unwrap();
        usize::try_from(u64::from_le_bytes(end)).unwrap()
    })
}

#[tokio::test]
async fn a_damaged_outline_costs_nothing() {
    let sample = sample(600, 20_000, true).await;
    let files = segments(sample.place.path());
    assert!(files.len() >= 3, "only {} segments", files.len());
    for file in &files {
        assert!(outline_at(&fs::read(file).unwrap()).is_some(), "{file:?}");
    }
    let mut random = Numbers::new(8);
    for trial in 0..times("JOURNAL_DAMAGE_TRIALS", 60) {
        let kind = ["flipped", "cut", "zeros", "longer", "swapped", "gone"][trial % 6];
        let context = format!("trial {trial}, {kind}");
        let outcome = examine(&sample, &context, |path| {
            let files = segments(path);
            let at = random.below(files.len());
            let other = fs::read(&files[(at + 1) % files.len()]).unwrap();
            change(&files[at], |bytes| {
                let end = outline_at(bytes).unwrap();
                let within = random.below(bytes.len() - end);
                match kind {
                    "flipped" => bytes[end + within] ^= 1 << (trial % 8),
                    "cut" => bytes.truncate(end + within),
                    "zeros" => bytes[end + within..].fill(0),
                    "longer" => bytes.resize(bytes.len() + 1 + within, 7),
                    "swapped" => {
                        bytes.truncate(end);
                        bytes.extend(&other[outline_at(&other).unwrap()..]);
                    }
                    _ => bytes.truncate(end),
                }
            });
        })
        .await;
        let costs = (outcome.lost, outcome.counted, outcome.back);
        assert_eq!(costs, (0, 0, 0), "{context}");
    }
}

#[tokio::test]
async fn damage_that_an_outline_passes_over_is_found_when_it_is_read() {
    let sample = sample(600, 20_000, true).await;
    let mut random = Numbers::new(9);
    let mut losses = 0;
    for trial in 0..times("JOURNAL_DAMAGE_TRIALS", 40) {
        let context = format!("trial {trial}");
        let outcome = examine(&sample, &context, |path| {
            let files = segments(path);
            change(&files[random.below(files.len())], |bytes| {
                let frames = SEGMENT_HEADER..outline_at(bytes).unwrap();
                let bit = random.below((frames.end - frames.start) * 8);
                bytes[frames.start + bit / 8] ^= 1 << (bit % 8);
            });
        })
        .await;
        assert!(outcome.lost <= 1, "{context}: {} lost", outcome.lost);
        assert_eq!(outcome.counted, outcome.lost as u64, "{context}: counted");
        losses += outcome.lost;
    }
    assert!(losses > 10, "the damage did some harm: {losses}");
}

#[tokio::test]
async fn a_missing_or_ruined_segment_costs_what_was_in_it() {
    let sample = sample(300, 60_000, true).await;
    let count = segments(sample.place.path()).len();
    assert!(count >= 4, "only {count} segments");
    for at in 0..count {
        for ruin in ["gone", "empty", "zeros", "garbage", "no header"] {
            let context = format!("segment {at} of {count}, {ruin}");
            let outcome = examine(&sample, &context, |path| {
                let segment: &PathBuf = &segments(path)[at];
                match ruin {
                    "gone" => fs::remove_file(segment).unwrap(),
                    "empty" => change(segment, Vec::clear),
                    "zeros" => change(segment, |bytes| bytes.fill(0)),
                    "garbage" => change(segment, |bytes| bytes.fill(0xa6)),
                    _ => change(segment, |bytes| bytes[..64].fill(0)),
                }
            })
            .await;
            if ruin == "no header" {
                assert_eq!(
                    outcome.lost, 0,
                    "{context}: the frames stand for themselves"
                );
            } else {
                assert!(outcome.lost <= 80, "{context}: {} lost", outcome.lost);
                let lost = outcome.lost as u64;
                assert!(
                    outcome.counted >= lost,
                    "{context}: {} of {lost}",
                    outcome.counted
                );
            }
        }
    }
}

#[tokio::test]
async fn without_mark_and_headers_the_frames_stand_for_themselves() {
    let sample = sample(200, 100, true).await;
    let outcome = examine(&sample, "no headers", |path| {
        fs::remove_file(path.join("journal-mark")).unwrap();
        change(&segments(path)[0], |bytes| bytes[..64].fill(0xff));
    })
    .await;
    assert_eq!(outcome.lost, 0);
    let outcome = examine(&sample, "a damaged mark", |path| {
        change(&path.join("journal-mark"), |bytes| bytes[20] ^= 1);
    })
    .await;
    assert_eq!((outcome.lost, outcome.back), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_set_aside_and_the_store_opens() {
    let place = in_memory();
    for round in 0..4_u8 {
        let store = open(place.path()).await;
        assert_eq!(store.stats().records(), 0);
        store
            .append(vec![record(&stream("ruined"), 1, 100)])
            .await
            .unwrap();
        store.close().await.unwrap();
        fs::remove_file(place.path().join("journal-mark")).unwrap();
        change(&segments(place.path())[0], |bytes| bytes.fill(round + 1));
    }
    let store = open(place.path()).await;
    let copies = || {
        let names = fs::read_dir(place.path())
            .unwrap()
            .map(|e| e.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        names.filter(|name| name.starts_with("corrupt-")).count()
    };
    assert_eq!(copies(), 2, "the newest two are kept");
    store.clear().await.unwrap();
    assert_eq!(copies(), 0, "clear deletes them");
    store.close().await.unwrap();
}

#[tokio::test]
async fn ids_are_not_used_again_when_the_last_segment_is_gone() {
    let place = in_memory();
    let name = stream("ids");
    let store = open(place.path()).await;
    store
        .append((0..10).map(|n| record(&name, n, 10)).collect())
        .await
        .unwrap();
    let last = read_all(&store, &name).await.records[9].id;
    store.close().await.unwrap();
    fs::remove_file(&segments(place.path())[0]).unwrap();
    let store = open(place.path()).await;
    store.append(vec![record(&name, 1, 10)]).await.unwrap();
    assert!(read_all(&store, &name).await.records[0].id > last);
    store.close().await.unwrap();
}
