//! Files beside the log, leftovers, copies of damaged data, and damage to an open store.

use std::collections::BTreeSet;
use std::fs::{self, File};

use crate::support::subject::for_each_store;
use crate::support::{
    Damage, End, MARK, Numbers, Outcome, STREAMS, Sample, Subject, append, change, copies, copy,
    in_memory, mixed_lengths, number_of, overwrite, read_all, segments, settled_down, stream,
    times,
};

for_each_store!(
    nothing_is_lost_with_any_other_file,
    leftovers_do_no_harm,
    damage_that_comes_while_the_store_is_open_is_counted,
    what_cannot_be_read_at_all_is_set_aside_and_the_store_opens,
);

async fn nothing_is_lost_with_any_other_file(subject: Subject) {
    for end in End::ALL {
        let sample = Sample::new(subject, end, 450, mixed_lengths).await;
        let mut random = Numbers::new(4);
        for kind in Damage::ALL {
            for name in [MARK, "lock", "journal-reserve"] {
                for case in 0..times("DAMAGES", 25).div_ceil(8) {
                    let context = format!("{end:?} {case}: {kind:?} {name}");
                    let outcome = sample.survives(&context, |path| {
                        let file = path.join(name);
                        if name == "journal-reserve" {
                            fs::write(&file, [0; 64 * 1024]).unwrap();
                        }
                        kind.is_done_to(&file, &mut random);
                    });
                    outcome.await.is_harmless(&context);
                }
            }
        }
    }
}

async fn leftovers_do_no_harm(subject: Subject) {
    for end in End::ALL {
        let sample = Sample::new(subject, end, 450, mixed_lengths).await;
        for content in [&b""[..], b"half of a mark", &[0x77; 3_000]] {
            let context = format!("{end:?}, {} bytes", content.len());
            let outcome = sample.survives(&context, |path| {
                fs::write(path.join("journal-mark.tmp"), content).unwrap();
                fs::write(path.join("journal-next.tmp"), content).unwrap();
                fs::create_dir(path.join("index-77")).unwrap();
                fs::write(path.join("index-77/db"), content).unwrap();
                fs::write(path.join("index-78"), content).unwrap();
                fs::create_dir(path.join("corrupt-1")).unwrap();
                fs::write(path.join("corrupt-1/0000000000.journal"), content).unwrap();
            });
            let Outcome {
                lost,
                counted,
                back,
                ..
            } = outcome.await;
            assert_eq!((lost, counted, back), (0, 0, 0), "{context}");
        }
        // The start of a segment in which nothing was acknowledged.
        let outcome = sample.survives("a begun segment", |path| {
            let last = segments(path).pop().unwrap();
            let name = last.file_stem().unwrap().to_str().unwrap();
            let next = name.parse::<u32>().unwrap() + 1;
            fs::write(path.join(format!("{next:010}.journal")), [0; 64]).unwrap();
        });
        outcome.await.is_harmless("a begun segment");
    }
}

async fn damage_that_comes_while_the_store_is_open_is_counted(subject: Subject) {
    let sample = Sample::new(subject, End::Closed, 450, mixed_lengths).await;
    let place = in_memory();
    copy(sample.place.path(), place.path());
    let store = subject.open_fast(place.path()).await;
    for path in segments(place.path()) {
        let mut file = File::options().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        for at in (64..length - 300).step_by(70_000) {
            overwrite(&mut file, at, &[0xa6; 300]);
        }
    }
    let mut found = BTreeSet::new();
    for name in STREAMS {
        let batch = read_all(&*store, &stream(name)).await;
        found.extend(batch.records.iter().map(number_of));
    }
    let missing = sample.live.difference(&found).count() as u64;
    let damaged = store.stats().damaged_records;
    assert!(
        missing > 0 && missing <= damaged,
        "{missing} missing, {damaged} counted"
    );
    // Losses already reported are not reported again, and reading loses nothing else.
    let held = store.stats().records() as u64;
    assert_eq!(held, found.len() as u64);
    store.close().await.unwrap();
    let store = subject.open_fast(place.path()).await;
    let mut again = 0;
    for name in STREAMS {
        let batch = read_all(&*store, &stream(name)).await;
        again += batch.records.iter().map(number_of).count() as u64;
    }
    assert!(held <= again + store.stats().damaged_records);
    store.close().await.unwrap();
}

async fn what_cannot_be_read_at_all_is_set_aside_and_the_store_opens(subject: Subject) {
    let place = in_memory();
    for round in 0..4_u8 {
        let store = subject.open(place.path()).await;
        assert_eq!(store.stats().records(), 0);
        let kept = copies(place.path()).len();
        assert_eq!(kept, usize::from(round.min(2)), "the newest two are kept");
        append(&*store, &stream("ruined"), [1], 100).await;
        store.close().await.unwrap();
        fs::remove_file(place.path().join(MARK)).unwrap();
        for segment in segments(place.path()) {
            change(&segment, |bytes| bytes.fill(round + 1));
        }
    }
    let store = subject.open(place.path()).await;
    assert_eq!(copies(place.path()).len(), 2, "the newest two are kept");
    store.clear().await.unwrap();
    settled_down(&*store).await;
    assert_eq!(copies(place.path()).len(), 0, "clear deletes them");
    store.close().await.unwrap();
}
