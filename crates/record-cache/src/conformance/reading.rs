//! Checks reading: contents and limits.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::support::{
    all, append, delete, limits, numbered, payloads, read, read_all, record, stream,
};
use crate::{NewRecord, RecordId, RecordStore, StoreStats, StreamName};

pub(super) async fn a_new_store_is_empty(store: &dyn RecordStore) {
    let nothing = StoreStats::default();
    assert_eq!(store.stats(), nothing, "a new store counts nothing");
    let found = read_all(store, &stream("unknown")).await;
    assert_eq!(found, [], "an unknown stream is empty");
    append(store, Vec::new()).await;
    assert_eq!(store.stats(), nothing, "an empty append does nothing");
}

pub(super) async fn contents_come_back_as_they_went_in(store: &dyn RecordStore) {
    let longest = StreamName::new("n".repeat(StreamName::MAX_BYTES)).expect("the limit is valid");
    for name in [stream("orders"), stream("Größe 名前/\u{0}"), longest] {
        let mut written = Vec::new();
        for (n, (key, bytes)) in shapes().into_iter().enumerate() {
            let new = NewRecord::new(name.clone(), key, payload(n, bytes));
            let mut new = new.with_explicit_hash_key(hash_key(n));
            new.recorded_at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 - n as u64);
            written.push(new);
        }
        written[0].recorded_at = UNIX_EPOCH;
        // Appends the even ones in one call, and the odd ones individually.
        append(store, written.iter().step_by(2).cloned().collect()).await;
        for new in written.iter().skip(1).step_by(2) {
            append(store, vec![new.clone()]).await;
        }

        let read = read_all(store, &name).await;
        let expected: Vec<&NewRecord> = written
            .iter()
            .step_by(2)
            .chain(written.iter().skip(1).step_by(2))
            .collect();
        assert_eq!(read.len(), expected.len(), "each record comes back once");
        for (read, new) in read.iter().zip(expected) {
            assert_eq!(read.key, new.key, "the key comes back");
            let hash_key = new.explicit_hash_key;
            assert_eq!(read.explicit_hash_key, hash_key, "the hash key comes back");
            let is_the_same = read.data == new.data;
            assert!(is_the_same, "the payload comes back, byte for byte");
            assert_eq!(read.recorded_at, new.recorded_at, "the time comes back");
            assert_eq!(read.attempts, 0, "nothing was attempted yet");
        }
    }
}

pub(super) async fn count_limits_a_read(store: &dyn RecordStore) {
    let name = stream("counted");
    let written = numbered(&name, 0..25);
    for new in &written {
        append(store, vec![new.clone()]).await;
    }
    for most in [1, 2, 7, 24, 25, 26] {
        let read = read(store, &name, None, limits(most, u64::MAX)).await;
        let expected = most.min(25);
        assert_eq!(read.len(), expected, "as many as the limit allows, no more");
        assert_eq!(payloads(&read)[0], written[0].data, "from the oldest on");
    }
}

pub(super) async fn bytes_limit_a_read_but_one_record_always_fits(store: &dyn RecordStore) {
    let name = stream("weighed");
    let sizes = [10_usize, 20, 30, 100_000, 5];
    let new = sizes
        .iter()
        .map(|&n| NewRecord::new(name.clone(), None, vec![1; n]))
        .collect();
    append(store, new).await;
    let counts = [
        (1, 1),
        (10, 1),
        (29, 1),
        (30, 2),
        (59, 2),
        (60, 3),
        (100_059, 3),
    ];
    for (most, expected) in counts {
        let read = read(store, &name, None, limits(100, most)).await;
        assert_eq!(read.len(), expected, "{most} bytes hold {expected} records");
    }
    let third = read_all(store, &name).await[2].id;
    let large = read(store, &name, Some(third), limits(100, 50)).await;
    assert_eq!(large.len(), 1, "a record beyond the limit comes alone");
    assert_eq!(large[0].size(), 100_000);
    let keyed = stream("keyed");
    let new = || NewRecord::new(keyed.clone(), Some("12345".to_owned()), vec![1; 5]);
    append(store, vec![new(), new()]).await;
    let one = read(store, &keyed, None, limits(9, 19)).await;
    assert_eq!(one.len(), 1, "a key counts too");
    let hashed = stream("hashed");
    let new = || record(&hashed, vec![1; 5]).with_explicit_hash_key(Some(u128::MAX));
    append(store, vec![new(), new()]).await;
    let both = read(store, &hashed, None, limits(10, 16)).await;
    assert_eq!(both.len(), 2, "a hash key does not");
    assert_eq!(store.stats().streams[&hashed].bytes, 16, "nor in counters");
    let both = read(store, &keyed, None, limits(9, 20)).await;
    assert_eq!(both.len(), 2, "up to the byte");
}

pub(super) async fn a_read_goes_on_after_an_id(store: &dyn RecordStore) {
    let name = stream("paged");
    for chunk in numbered(&name, 0..100).chunks(9) {
        append(store, chunk.to_vec()).await;
    }
    let whole = read_all(store, &name).await;
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = read(store, &name, after, limits(7, u64::MAX)).await;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, whole, "pages join without a gap or an overlap");

    let gone = whole[49].id;
    delete(store, &name, [gone]).await;
    let rest = read(store, &name, Some(gone), all()).await;
    assert_eq!(rest, whole[50..], "a deleted id is a place all the same");
    let rest = read(store, &name, Some(whole[99].id), all()).await;
    assert_eq!(rest, [], "nothing follows the last");
    let rest = read(store, &name, Some(RecordId::new(u64::MAX)), all()).await;
    assert_eq!(rest, [], "nothing follows the end");
}

pub(super) async fn a_read_changes_nothing(store: &dyn RecordStore) {
    let name = stream("looked-at");
    append(store, vec![record(&name, "one"), record(&name, "two")]).await;
    let before = store.stats();
    let first = read_all(store, &name).await;
    let again = read_all(store, &name).await;
    assert_eq!(again, first, "a second read returns the same");
    assert_eq!(store.stats(), before, "reading does not move the counters");
}

/// The smallest and largest keys and none, in any order next to each other.
pub(super) fn hash_key(n: usize) -> Option<u128> {
    match n % 7 {
        1 => Some(u128::MAX),
        2 => Some(0),
        5 => Some(1 << 100),
        6 => Some(n as u128),
        _ => None,
    }
}

/// Keys and payload sizes around every boundary a store may have.
fn shapes() -> Vec<(Option<String>, usize)> {
    let key = |text: &str| Some(text.to_owned());
    let mut shapes = vec![
        (None, 0),
        (key(""), 0),
        (key("k"), 0),
        (None, 1),
        (key("ключ"), 100),
        (key(&"k".repeat(256)), 1),
        (key(&"long".repeat(20_000)), 10),
        (None, 3_000_000),
    ];
    for power in [7, 10, 12, 14, 16, 18] {
        let bytes = 1 << power;
        shapes.extend([(key("p"), bytes - 1), (None, bytes), (key("p"), bytes + 1)]);
    }
    shapes.extend((6_300..6_500).step_by(13).map(|bytes| (None, bytes)));
    shapes
}

fn payload(seed: usize, bytes: usize) -> Bytes {
    (0..bytes)
        .map(|n| u8::try_from((n * 31 + seed * 7 + n / 251) % 256).unwrap_or(0))
        .collect()
}
