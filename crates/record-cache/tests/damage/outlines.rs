//! Outlines. They save an open from reading the frames, and hold nothing that the frames do not.

use std::fs;

use crate::support::subject::for_each_store;
use crate::support::{
    End, Numbers, SEGMENT_HEADER, Sample, Subject, change, outline_at, segments, times,
};

for_each_store!(
    a_damaged_outline_costs_nothing,
    damage_that_an_outline_passes_over_is_found_when_it_is_read,
);

async fn outlined(subject: Subject) -> Sample {
    let length = |n| 20_000 + usize::try_from(n % 90).unwrap();
    let sample = Sample::new(subject, End::Closed, 600, length).await;
    let files = segments(sample.place.path());
    assert!(files.len() >= 3, "only {} segments", files.len());
    for file in &files {
        let outline = outline_at(&fs::read(file).unwrap());
        assert!(outline.is_some(), "{}", file.display());
    }
    sample
}

async fn a_damaged_outline_costs_nothing(subject: Subject) {
    let sample = outlined(subject).await;
    let mut random = Numbers::new(8);
    for trial in 0..times("DAMAGES", 25) * 2 {
        let kind = ["flipped", "cut", "zeros", "longer", "swapped", "gone"][trial % 6];
        let context = format!("trial {trial}, {kind}");
        let outcome = sample.survives(&context, |path| {
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
        });
        outcome.await.is_harmless(&context);
    }
}

async fn damage_that_an_outline_passes_over_is_found_when_it_is_read(subject: Subject) {
    let sample = outlined(subject).await;
    let mut random = Numbers::new(9);
    let mut losses = 0;
    let trials = times("DAMAGES", 25) * 3 / 2;
    for trial in 0..trials {
        let context = format!("trial {trial}");
        let outcome = sample.survives(&context, |path| {
            let files = segments(path);
            change(&files[random.below(files.len())], |bytes| {
                let frames = SEGMENT_HEADER..outline_at(bytes).unwrap();
                let bit = random.below((frames.end - frames.start) * 8);
                bytes[frames.start + bit / 8] ^= 1 << (bit % 8);
            });
        });
        let outcome = outcome.await;
        assert!(outcome.lost <= 1, "{context}: {outcome:?}");
        assert_eq!(outcome.counted, outcome.lost, "{context}: counted");
        losses += outcome.lost;
    }
    assert!(losses > trials / 4, "too little harm: {losses} in {trials}");
}
