//! Processes killed while they rebuild an index.

use std::thread;
use std::time::Duration;

use record_cache::Settlement;

use crate::WRITER;
use crate::support::process::{self, is_child, say};
use crate::support::subject::for_each_store;
use crate::support::{
    Numbers, Subject, append, in_memory, limits, numbers, read_all, remove_indexes, stream, times,
};

for_each_store!(a_rebuild_that_is_killed_again_and_again_comes_to_its_end);

const RECORDS: u64 = 20_000;

async fn a_rebuild_that_is_killed_again_and_again_comes_to_its_end(opener: Subject) {
    if let Some((path, _)) = is_child() {
        say("opening");
        let _store = opener.open_fast(&path).await;
        say("opened");
        return std::future::pending().await;
    }
    let place = in_memory();
    let name = stream("much");
    let store = WRITER.open_fast(place.path()).await;
    for call in 0..RECORDS / 500 {
        append(&*store, &name, call * 500..call * 500 + 500, 30).await;
    }
    let held = store.oldest(&name, None, limits(3_000)).await.unwrap();
    let ids = || held.records.iter().map(|record| record.id);
    let settlement = Settlement::new(name.clone())
        .delete(ids().skip(100))
        .count_attempt(ids().take(100));
    store.settle(settlement).await.unwrap();
    store.close().await.unwrap();
    let expected: Vec<u64> = (0..100).chain(3_000..RECORDS).collect();

    let test = opener.test("a_rebuild_that_is_killed_again_and_again_comes_to_its_end");
    let test = format!("rebuilt::{test}");
    let mut random = Numbers::new(31);
    let mut midway = 0;
    for kill in 0..times("INDEX_CASES", 15) {
        // Some start from what the last one left, which may be half an index.
        if kill % 3 == 0 {
            remove_indexes(place.path());
        }
        let mut process = process::start(&test, place.path(), "");
        process.wait_for("opening");
        pause(&mut random);
        midway += usize::from(!process.kill().iter().any(|line| line == "opened"));
    }
    assert!(midway > 0, "none was killed while it opened");
    let store = opener.open_fast(place.path()).await;
    let found = read_all(&*store, &name).await;
    assert_eq!(numbers(&found), expected);
    let mut counted = found.records.iter().take(100);
    assert!(counted.all(|record| record.attempts == 1));
    let stats = store.stats();
    assert_eq!(stats.records(), expected.len());
    assert_eq!(stats.damaged_records, 0);
    store.close().await.unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the moment of the kill is drawn, not waited for"
)]
fn pause(random: &mut Numbers) {
    let most = 100_000_usize >> random.below(8);
    thread::sleep(Duration::from_micros(random.below(most) as u64));
}
