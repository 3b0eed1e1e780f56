//! Logs with a torn last write, and damage that only looks like one.

use std::fs;
use std::path::Path;

use crate::support::subject::for_each_store;
use crate::support::{
    SEGMENT_HEADER, Subject, change, copy, crash, in_memory, numbers, read_all, record, segments,
    stream, times,
};

for_each_store!(
    a_tail_torn_at_any_byte_costs_the_last_calls_only,
    damage_before_whole_calls_is_not_taken_for_a_torn_write,
);

/// Writes a few calls and leaves the store as a crash does. Returns the segment length after each
/// call, with the record numbers.
async fn a_few_calls(subject: Subject, path: &Path) -> Vec<(u64, Vec<u64>)> {
    let work = in_memory();
    let store = subject.open_fast(work.path()).await;
    let name = stream("torn");
    let mut calls = Vec::new();
    for call in 0..4_u64 {
        let ids: Vec<u64> = (call * 10..call * 10 + 1 + call % 3).collect();
        let length = |n: u64| 5 + usize::try_from(9 * n % 30).unwrap();
        let records = ids.iter().map(|&n| record(&name, n, length(n)));
        store.append(records.collect()).await.unwrap();
        calls.push((fs::metadata(&segments(work.path())[0]).unwrap().len(), ids));
    }
    crash(&*store, work.path(), path).await;
    store.close().await.unwrap();
    calls
}

async fn a_tail_torn_at_any_byte_costs_the_last_calls_only(subject: Subject) {
    let crashed = in_memory();
    let calls = a_few_calls(subject, crashed.path()).await;
    let whole = fs::read(&segments(crashed.path())[0]).unwrap();
    for end in (SEGMENT_HEADER..=whole.len()).step_by(times("TORN_STEP", 1)) {
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
            copy(crashed.path(), place.path());
            fs::write(&segments(place.path())[0], torn).unwrap();

            let name = stream("torn");
            let store = subject.open_fast(place.path()).await;
            // The padding at the end of a frame may be lost without harm.
            let expected = |slack: u64| -> Vec<u64> {
                let is_whole = |(length, _): &&(u64, _)| *length <= end as u64 + slack;
                let whole = calls.iter().filter(is_whole);
                whole.flat_map(|(_, ids)| ids.clone()).collect()
            };
            let found = read_all(&*store, &name).await;
            assert_eq!(found.damaged.records, 0, "{context}");
            let found = numbers(&found);
            let is_whole = found == expected(0) || found == expected(7);
            assert!(is_whole, "{context}: {found:?}");
            assert_eq!(store.stats().damaged_records, 0, "{context}");
            store.append(vec![record(&name, 99, 20)]).await.unwrap();
            store.close().await.unwrap();
            let store = subject.open_fast(place.path()).await;
            let again = numbers(&read_all(&*store, &name).await);
            assert_eq!(again, [&found[..], &[99]].concat(), "{context}");
            assert_eq!(store.stats().damaged_records, 0, "{context}");
            store.close().await.unwrap();
        }
    }
}

async fn damage_before_whole_calls_is_not_taken_for_a_torn_write(subject: Subject) {
    let crashed = in_memory();
    let work = in_memory();
    let store = subject.open_fast(work.path()).await;
    let name = stream("a");
    let mut ends = Vec::new();
    for n in 0..1_000 {
        store.append(vec![record(&name, n, 100)]).await.unwrap();
        ends.push(usize::try_from(fs::metadata(&segments(work.path())[0]).unwrap().len()).unwrap());
    }
    crash(&*store, work.path(), crashed.path()).await;
    store.close().await.unwrap();
    for call in [0_usize, 10, 500, 990] {
        // A call's last frame is its record, slightly longer than the payload.
        let before = call.checked_sub(1);
        let begin = before.map_or(SEGMENT_HEADER, |before| ends[before]);
        for before_the_end in [20, 150, ends[call] - begin - 4] {
            let context = format!("call {call}, {before_the_end} bytes before its end");
            let place = in_memory();
            copy(crashed.path(), place.path());
            change(&segments(place.path())[0], |bytes| {
                bytes[ends[call] - before_the_end] ^= 4
            });
            let store = subject.open_fast(place.path()).await;
            let found = numbers(&read_all(&*store, &name).await);
            let missing: Vec<u64> = (0..1_000).filter(|n| !found.contains(n)).collect();
            let is_that_call = missing.is_empty() || missing == [call as u64];
            assert!(is_that_call, "{context}: {missing:?}");
            let counted = store.stats().damaged_records;
            assert_eq!(counted, missing.len() as u64, "{context}: counted");
            store.close().await.unwrap();
        }
    }
}
