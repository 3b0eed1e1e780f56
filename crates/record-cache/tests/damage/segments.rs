//! Log segments that are damaged, truncated or missing.

use std::fs;

use crate::support::subject::for_each_store;
use crate::support::{
    Damage, End, MARK, Numbers, Sample, Subject, append, change, in_memory, mixed_lengths,
    read_all, record, segments, stream, times,
};

for_each_store!(
    a_flipped_bit_costs_one_record_at_most,
    pages_of_zeros_cost_what_was_in_them,
    a_file_cut_short_costs_what_was_behind,
    segments_that_are_damaged_after_a_clean_close_are_honest,
    segments_that_are_damaged_after_a_kill_are_honest,
    segments_that_are_damaged_when_they_had_been_opened_before_are_honest,
    a_missing_or_ruined_segment_costs_what_was_in_it,
    a_log_that_is_gone_is_reported,
    without_mark_and_headers_the_frames_stand_for_themselves,
    ids_are_not_used_again_when_the_last_segment_is_gone,
);

fn around(length: usize) -> impl Fn(u64) -> usize {
    move |n| length + usize::try_from(n % 90).unwrap()
}

async fn a_flipped_bit_costs_one_record_at_most(subject: Subject) {
    for end in [End::Closed, End::Killed] {
        let sample = Sample::new(subject, end, 200, around(60)).await;
        let mut random = Numbers::new(5);
        let mut losses = 0;
        let trials = times("DAMAGES", 25) * 6;
        for trial in 0..trials {
            let context = format!("{end:?}, trial {trial}");
            let outcome = sample.survives(&context, |path| {
                Damage::FlippedBit.is_done_to(&segments(path)[0], &mut random);
            });
            let outcome = outcome.await;
            if end == End::Closed {
                assert!(outcome.lost <= 1, "{context}: {outcome:?}");
                assert_eq!(outcome.counted, outcome.lost, "{context}: counted");
            }
            // Without a clean close, damage in the last call looks like a torn write: a call is
            // kept whole or not at all.
            assert!(outcome.lost <= 5, "{context}: {outcome:?}");
            losses += outcome.lost;
        }
        assert!(losses > trials / 8, "too little harm: {losses} in {trials}");
    }
}

async fn pages_of_zeros_cost_what_was_in_them(subject: Subject) {
    let sample = Sample::new(subject, End::Closed, 1000, around(100)).await;
    let mut random = Numbers::new(6);
    for trial in 0..times("DAMAGES", 25) * 3 {
        let context = format!("trial {trial}");
        let outcome = sample.survives(&context, |path| {
            Damage::ZeroedPage.is_done_to(&segments(path)[0], &mut random);
        });
        let outcome = outcome.await;
        assert!(outcome.lost <= 4096 / 150 + 2, "{context}: {outcome:?}");
        // The count may include a settled record if the page also held its settlement.
        let honest = outcome.lost..=outcome.lost + 6;
        assert!(honest.contains(&outcome.counted), "{context}: {outcome:?}");
    }
}

async fn a_file_cut_short_costs_what_was_behind(subject: Subject) {
    let sample = Sample::new(subject, End::Closed, 600, around(100)).await;
    let mut random = Numbers::new(7);
    for trial in 0..times("DAMAGES", 25) * 3 {
        let context = format!("trial {trial}");
        let mut left = 0;
        let outcome = sample.survives(&context, |path| {
            let (at, _) = Damage::Truncated.is_done_to(&segments(path)[0], &mut random);
            left = usize::try_from(at).unwrap();
        });
        let outcome = outcome.await;
        let kept = sample.live.len() - outcome.lost;
        let enough = kept + 40 >= left / 260;
        assert!(enough, "{context}: {kept} kept of {left} bytes");
        // Records whose settlement was behind the cut come back, and do not count as lost.
        let honest = outcome.counted >= outcome.lost;
        assert!(honest, "{context}, cut at {left}: {outcome:?}");
    }
}

async fn segments_that_are_damaged_after_a_clean_close_are_honest(subject: Subject) {
    damaged_segments_are_honest(subject, End::Closed, 1).await;
}

async fn segments_that_are_damaged_after_a_kill_are_honest(subject: Subject) {
    damaged_segments_are_honest(subject, End::Killed, 2).await;
}

async fn segments_that_are_damaged_when_they_had_been_opened_before_are_honest(subject: Subject) {
    damaged_segments_are_honest(subject, End::KilledLater, 3).await;
}

/// Losses never exceed the reported count.
async fn damaged_segments_are_honest(subject: Subject, end: End, seed: u64) {
    let sample = Sample::new(subject, end, 450, mixed_lengths).await;
    sample.is_untouched().await;
    let mut random = Numbers::new(seed);
    for kind in Damage::ALL {
        let cases = match kind {
            Damage::Emptied | Damage::Longer | Damage::Missing => 1,
            _ => times("DAMAGES", 25),
        };
        for case in 0..cases {
            let context = format!("{end:?} {case}: {kind:?}");
            let mut damaged = (0, 0);
            let outcome = sample.survives(&context, |path| {
                damaged = kind.is_done_to(&segments(path)[0], &mut random);
            });
            let outcome = outcome.await;
            // After a kill, damage in the last call is a torn write: the call never happened.
            let is_torn = end != End::Closed && damaged.1 > sample.last_call;
            let is_honest = outcome.lost <= outcome.counted;
            assert!(is_honest || is_torn, "{context}: {outcome:?}");
            match kind {
                Damage::FlippedBit => assert!(outcome.lost <= 5, "{context}: {outcome:?}"),
                Damage::Longer => outcome.is_harmless(&context),
                _ => {}
            }
        }
    }
}

async fn a_missing_or_ruined_segment_costs_what_was_in_it(subject: Subject) {
    let sample = Sample::new(subject, End::Closed, 300, around(60_000)).await;
    let count = segments(sample.place.path()).len();
    assert!(count >= 4, "only {count} segments");
    for at in 0..count {
        for ruin in ["gone", "empty", "zeros", "garbage", "no header"] {
            let context = format!("segment {at} of {count}, {ruin}");
            let outcome = sample.survives(&context, |path| {
                let segment = &segments(path)[at];
                match ruin {
                    "gone" => fs::remove_file(segment).unwrap(),
                    "empty" => change(segment, Vec::clear),
                    "zeros" => change(segment, |bytes| bytes.fill(0)),
                    "garbage" => change(segment, |bytes| bytes.fill(0xa6)),
                    _ => change(segment, |bytes| bytes[..64].fill(0)),
                }
            });
            let outcome = outcome.await;
            if ruin == "no header" {
                // The frames can be read without the header.
                assert_eq!(outcome.lost, 0, "{context}: {outcome:?}");
            } else {
                assert!(outcome.lost <= 80, "{context}: {outcome:?}");
                assert!(outcome.counted >= outcome.lost, "{context}: {outcome:?}");
            }
        }
    }
}

async fn a_log_that_is_gone_is_reported(subject: Subject) {
    for records in [200, 450] {
        let sample = Sample::new(subject, End::Closed, records, mixed_lengths).await;
        let outcome = sample.survives("all gone", |path| {
            for file in segments(path) {
                fs::remove_file(file).unwrap();
            }
        });
        let outcome = outcome.await;
        assert_eq!(outcome.lost, sample.live.len());
        assert!(outcome.counted >= outcome.lost, "{outcome:?}");
    }
}

async fn without_mark_and_headers_the_frames_stand_for_themselves(subject: Subject) {
    let sample = Sample::new(subject, End::Closed, 200, around(100)).await;
    let outcome = sample.survives("no headers", |path| {
        fs::remove_file(path.join(MARK)).unwrap();
        change(&segments(path)[0], |bytes| bytes[..64].fill(0xff));
    });
    assert_eq!(outcome.await.lost, 0);
    let outcome = sample.survives("a damaged mark", |path| {
        change(&path.join(MARK), |bytes| bytes[20] ^= 1);
    });
    outcome.await.is_harmless("a damaged mark");
}

async fn ids_are_not_used_again_when_the_last_segment_is_gone(subject: Subject) {
    let place = in_memory();
    let name = stream("ids");
    let store = subject.open(place.path()).await;
    append(&*store, &name, 0..10, 10).await;
    let last = read_all(&*store, &name).await.records[9].id;
    store.close().await.unwrap();
    fs::remove_file(&segments(place.path())[0]).unwrap();
    let store = subject.open(place.path()).await;
    store.append(vec![record(&name, 1, 10)]).await.unwrap();
    assert!(read_all(&*store, &name).await.records[0].id > last);
    store.close().await.unwrap();
}
