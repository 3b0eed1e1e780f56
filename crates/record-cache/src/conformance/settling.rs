//! Checks settling and clearing.

use super::support::{
    append, delete, ids, numbered, payloads, read_all, record, removed, settle, stream,
};
use crate::{Amount, Record, RecordId, RecordStore, Settlement, StoreStats};

pub(super) async fn deletes_are_returned_and_gone(store: &dyn RecordStore) {
    let name = stream("done");
    append(store, numbered(&name, 0..50)).await;
    let before = read_all(store, &name).await;
    let done = delete(store, &name, ids(&before[..20])).await;
    assert_eq!(done, removed(&before[..20]), "what was deleted is returned");
    let rest = read_all(store, &name).await;
    assert_eq!(rest, before[20..], "the rest stays as it was");
    let done = delete(store, &name, ids(&before)).await;
    let expected = removed(&before[20..]);
    assert_eq!(done, expected, "only what was still there is counted");
    assert_eq!(read_all(store, &name).await, [], "nothing is left");
    let nothing = StoreStats::default();
    assert_eq!(store.stats(), nothing, "and nothing is counted");
}

pub(super) async fn unknown_ids_are_passed_over(store: &dyn RecordStore) {
    let name = stream("known");
    let strange = [0, 1, 7, 1 << 20, u64::MAX - 1, u64::MAX].map(RecordId::new);
    let nowhere = Settlement::new(stream("nowhere"))
        .delete(strange)
        .count_attempt(strange);
    let done = settle(store, nowhere).await;
    assert_eq!(done, Amount::default(), "no stream, no change");
    let done = settle(store, Settlement::new(name.clone())).await;
    assert_eq!(done, Amount::default());

    append(store, numbered(&name, 0..3)).await;
    let before = read_all(store, &name).await;
    delete(store, &name, [before[0].id]).await;
    let mut strange = strange.to_vec();
    strange.retain(|id| !ids(&before).contains(id));
    strange.push(before[0].id);
    let settlement = Settlement::new(name.clone())
        .delete(strange.clone())
        .count_attempt(strange);
    let done = settle(store, settlement).await;
    assert_eq!(done, Amount::default(), "nothing matched");
    let rest = read_all(store, &name).await;
    assert_eq!(rest, before[1..], "and nothing changed");

    let done = delete(store, &name, [before[1].id, before[1].id]).await;
    assert_eq!(done, removed(&before[1..2]), "a record goes once");
}

pub(super) async fn attempts_add_up(store: &dyn RecordStore) {
    let name = stream("tried");
    let mut written = numbered(&name, 0..40);
    written.push(record(&name, vec![9; 200_000]));
    append(store, written).await;
    let first = read_all(store, &name).await;
    for round in 1..=3_u32 {
        let every: Vec<RecordId> = ids(&first).into_iter().step_by(4).collect();
        let last = first[40].id;
        // An id given twice counts once.
        let counted = Settlement::new(name.clone())
            .count_attempt(every)
            .count_attempt([last, last]);
        let done = settle(store, counted).await;
        assert_eq!(done, Amount::default(), "counting deletes nothing");
        for (n, (now, then)) in read_all(store, &name).await.iter().zip(&first).enumerate() {
            let mut expected = then.clone();
            expected.attempts = if n % 4 == 0 { round } else { 0 };
            assert_eq!(
                *now, expected,
                "one attempt for each settlement and id, and nothing else"
            );
        }
    }
}

pub(super) async fn one_step_deletes_and_counts(store: &dyn RecordStore) {
    let name = stream("mixed");
    append(store, numbered(&name, 0..30)).await;
    let before = read_all(store, &name).await;
    let (even, odd): (Vec<_>, Vec<_>) = before.iter().partition(|r| r.id.get() % 2 == 0);
    let settlement = Settlement::new(name.clone())
        .delete(even.iter().map(|r| r.id))
        .count_attempt(odd.iter().map(|r| r.id))
        // An id in both lists is deleted.
        .count_attempt(even.iter().map(|r| r.id));
    let done = settle(store, settlement).await;
    assert_eq!(done.records, even.len(), "the one half is deleted");
    let after = read_all(store, &name).await;
    let mut expected: Vec<Record> = odd.into_iter().cloned().collect();
    expected.iter_mut().for_each(|record| record.attempts = 1);
    assert_eq!(after, expected, "the others stay, with an attempt more");
}

pub(super) async fn any_order_will_do(store: &dyn RecordStore) {
    let name = stream("scattered");
    for call in 0..20 {
        let mut records = numbered(&name, call * 10..call * 10 + 9);
        let long = if call % 5 == 0 { 30_000 } else { 3_000 };
        records.push(record(&name, vec![5; long]));
        append(store, records).await;
    }
    let before = read_all(store, &name).await;
    let mut left = before.clone();
    // A stride coprime with 200 visits every place once.
    let visited: Vec<usize> = (0..200).map(|n| (n * 73 + 150) % 200).collect();
    for places in visited.chunks(11) {
        let chosen: Vec<Record> = places.iter().map(|&at| before[at].clone()).collect();
        let done = delete(store, &name, ids(&chosen)).await;
        assert_eq!(done, removed(&chosen), "all that were named are deleted");
        left.retain(|record| !ids(&chosen).contains(&record.id));
        let rest = payloads(&read_all(store, &name).await);
        assert_eq!(rest, payloads(&left), "the rest stays");
    }
    let nothing = StoreStats::default();
    assert_eq!(store.stats(), nothing, "and then the store is empty");
}

pub(super) async fn a_settlement_touches_its_stream_only(store: &dyn RecordStore) {
    let (left, right) = (stream("left"), stream("right"));
    append(store, numbered(&left, 0..5)).await;
    append(store, numbered(&right, 0..5)).await;
    let other = read_all(store, &right).await;
    let own = ids(&read_all(store, &left).await);
    delete(store, &left, own).await;
    let found = read_all(store, &right).await;
    assert_eq!(found, other, "the other stream is untouched");
}

pub(super) async fn clear_forgets_everything(store: &dyn RecordStore) {
    let cleared = store.clear().await.expect("clear succeeds");
    let nothing = Amount::default();
    assert_eq!(cleared, nothing, "an empty store has nothing to clear");
    let names: Vec<_> = (0..3).map(|n| stream(&format!("cleared-{n}"))).collect();
    for name in &names {
        append(store, numbered(name, 0..40)).await;
        append(store, vec![record(name, vec![7; 100_000])]).await;
    }
    let first = read_all(store, &names[0]).await;
    delete(store, &names[0], ids(&first[..10])).await;
    let held = store.stats();

    let cleared = store.clear().await.expect("clear succeeds");
    let all = Amount::new(held.records(), held.bytes());
    assert_eq!(cleared, all, "all of it is counted");
    assert_eq!(store.stats(), StoreStats::default(), "nothing is left");
    for name in &names {
        assert_eq!(read_all(store, name).await, [], "in no stream");
    }
    let late = Settlement::new(names[0].clone())
        .delete(ids(&first))
        .count_attempt(ids(&first));
    let done = settle(store, late).await;
    assert_eq!(done, nothing, "cleared records are gone");
    append(store, numbered(&names[0], 0..3)).await;
    let added = read_all(store, &names[0]).await;
    assert_eq!(added.len(), 3, "the store goes on working");
}
