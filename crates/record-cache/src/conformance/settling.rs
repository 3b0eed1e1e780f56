//! Checks settling and clearing.

use super::support::{append, ids, numbered, payloads, read_all, record, removed, settle, stream};
use crate::{Amount, Record, RecordId, RecordStore, Settlement, StoreStats};

pub(super) async fn deletes_are_returned_and_gone(store: &dyn RecordStore) {
    let name = stream("done");
    append(store, numbered(&name, 0..50)).await;
    let before = read_all(store, &name).await;
    let done = settle(
        store,
        Settlement::new(name.clone()).delete(ids(&before[..20])),
    )
    .await;
    assert_eq!(done, removed(&before[..20]), "what was deleted is returned");
    assert_eq!(
        read_all(store, &name).await,
        before[20..],
        "the rest stays as it was"
    );
    let done = settle(store, Settlement::new(name.clone()).delete(ids(&before))).await;
    assert_eq!(
        done,
        removed(&before[20..]),
        "only what was still there is counted"
    );
    assert_eq!(read_all(store, &name).await, [], "nothing is left");
    assert_eq!(
        store.stats(),
        StoreStats::default(),
        "and nothing is counted"
    );
}

pub(super) async fn unknown_ids_are_passed_over(store: &dyn RecordStore) {
    let name = stream("known");
    let strange = [0, 1, 7, 1 << 20, u64::MAX - 1, u64::MAX].map(RecordId::new);
    let nowhere = Settlement::new(stream("nowhere"))
        .delete(strange)
        .count_attempt(strange);
    assert_eq!(
        settle(store, nowhere).await,
        Amount::default(),
        "no stream, no change"
    );
    assert_eq!(
        settle(store, Settlement::new(name.clone())).await,
        Amount::default()
    );

    append(store, numbered(&name, 0..3)).await;
    let before = read_all(store, &name).await;
    settle(store, Settlement::new(name.clone()).delete([before[0].id])).await;
    let held = ids(&before);
    let strange = strange
        .into_iter()
        .filter(|id| !held.contains(id))
        .chain([before[0].id]);
    let strange: Vec<RecordId> = strange.collect();
    let settlement = Settlement::new(name.clone())
        .delete(strange.clone())
        .count_attempt(strange);
    assert_eq!(
        settle(store, settlement).await,
        Amount::default(),
        "nothing matched"
    );
    assert_eq!(
        read_all(store, &name).await,
        before[1..],
        "and nothing changed"
    );

    let twice = Settlement::new(name.clone()).delete([before[1].id, before[1].id]);
    assert_eq!(
        settle(store, twice).await,
        removed(&before[1..2]),
        "a record goes once"
    );
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
        assert_eq!(
            settle(store, counted).await,
            Amount::default(),
            "counting deletes nothing"
        );
        for (n, (now, then)) in read_all(store, &name).await.iter().zip(&first).enumerate() {
            let expected = if n % 4 == 0 { round } else { 0 };
            assert_eq!(
                now.attempts, expected,
                "one attempt for each settlement and id"
            );
            assert_eq!(
                Record {
                    attempts: 0,
                    ..now.clone()
                },
                *then,
                "and nothing else"
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
    let expected: Vec<Record> = odd
        .iter()
        .map(|&r| Record {
            attempts: 1,
            ..r.clone()
        })
        .collect();
    assert_eq!(
        after, expected,
        "the other half stays, with an attempt more"
    );
}

pub(super) async fn any_order_will_do(store: &dyn RecordStore) {
    let name = stream("scattered");
    for call in 0..20 {
        let mut records = numbered(&name, call * 10..call * 10 + 9);
        records.push(record(
            &name,
            vec![5; if call % 5 == 0 { 30_000 } else { 3_000 }],
        ));
        append(store, records).await;
    }
    let before = read_all(store, &name).await;
    let mut left = before.clone();
    // A stride coprime with 200 visits every place once.
    let visited: Vec<usize> = (0..200).map(|n| (n * 73 + 150) % 200).collect();
    for places in visited.chunks(11) {
        let chosen: Vec<&Record> = places.iter().map(|&at| &before[at]).collect();
        let settlement = Settlement::new(name.clone()).delete(chosen.iter().map(|r| r.id));
        let done = settle(store, settlement).await;
        let bytes = chosen.iter().map(|r| r.size()).sum();
        assert_eq!(
            done,
            Amount::new(chosen.len(), bytes),
            "all that were named are deleted"
        );
        left.retain(|record| !chosen.iter().any(|gone| gone.id == record.id));
        assert_eq!(
            payloads(&read_all(store, &name).await),
            payloads(&left),
            "the rest stays"
        );
    }
    assert_eq!(
        store.stats(),
        StoreStats::default(),
        "and then the store is empty"
    );
}

pub(super) async fn a_settlement_touches_its_stream_only(store: &dyn RecordStore) {
    let (left, right) = (stream("left"), stream("right"));
    append(store, numbered(&left, 0..5)).await;
    append(store, numbered(&right, 0..5)).await;
    let other = read_all(store, &right).await;
    let own = ids(&read_all(store, &left).await);
    settle(store, Settlement::new(left.clone()).delete(own)).await;
    assert_eq!(
        read_all(store, &right).await,
        other,
        "the other stream is untouched"
    );
}

pub(super) async fn clear_forgets_everything(store: &dyn RecordStore) {
    let nothing = store.clear().await.expect("clear succeeds");
    assert_eq!(
        nothing,
        Amount::default(),
        "an empty store has nothing to clear"
    );
    let names: Vec<_> = (0..3).map(|n| stream(&format!("cleared-{n}"))).collect();
    for name in &names {
        append(store, numbered(name, 0..40)).await;
        append(store, vec![record(name, vec![7; 100_000])]).await;
    }
    let first = read_all(store, &names[0]).await;
    settle(
        store,
        Settlement::new(names[0].clone()).delete(ids(&first[..10])),
    )
    .await;
    let held = store.stats();

    let cleared = store.clear().await.expect("clear succeeds");
    assert_eq!(
        cleared,
        Amount::new(held.records(), held.bytes()),
        "all of it is counted"
    );
    assert_eq!(store.stats(), StoreStats::default(), "nothing is left");
    for name in &names {
        assert_eq!(read_all(store, name).await, [], "in no stream");
    }
    let late = Settlement::new(names[0].clone())
        .delete(ids(&first))
        .count_attempt(ids(&first));
    assert_eq!(
        settle(store, late).await,
        Amount::default(),
        "cleared records are gone"
    );
    append(store, numbered(&names[0], 0..3)).await;
    assert_eq!(
        read_all(store, &names[0]).await.len(),
        3,
        "the store goes on working"
    );
}
