//! What the KPL's Python and Node readers make of our records, byte for byte.
//!
//! `cargo test -p aggregation --test readers -- --ignored` installs the readers below `target/`.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;

use aggregation::kpl::Encoder;
use aggregation::{Event, KplLimits};
use amplify_test_support::kpl_readers;
use base64_simd::STANDARD;
use serde_json::{Value, json};

#[test]
#[ignore = "installs the readers, which needs python3, npm and their registries"]
fn the_readers_of_python_and_node_read_what_was_put_in() {
    let cases = cases();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
    for (reader, answers) in kpl_readers::read(&cases, &target) {
        assert_eq!(answers.len(), cases.len());
        for (case, answer) in cases.iter().zip(&answers) {
            assert_eq!(answer["read"], case["events"], "{reader}");
            if reader == "python" {
                assert_eq!(
                    answer["written"], case["record"],
                    "the aggregator of {reader}"
                );
            }
        }
    }
}

/// Our records and their contents.
fn cases() -> Vec<Value> {
    let large = vec![0xab; 20_000];
    let keys: Vec<String> = (0..200).map(|n| format!("clé-{n}")).collect();
    let many = |explicit: bool| -> Vec<Event<'_>> {
        (0..300_u128)
            .map(|n| {
                let key = usize::try_from(n * 7 % 200).unwrap();
                let event = Event::new(&keys[key], keys[key].as_bytes());
                if explicit {
                    event.with_explicit_hash_key(u128::MAX - n * n * 1_000_000_007)
                } else {
                    event
                }
            })
            .collect()
    };
    let few = vec![
        Event::new("a", b"one"),
        Event::new("a", b""),
        Event::new("b", &large),
        Event::new("\u{1f600}", b"\x00\xff"),
    ];
    let explicit = |events: &[Event<'static>]| -> Vec<Event<'static>> {
        let explicit = |(n, event): (u128, &Event<'static>)| event.with_explicit_hash_key(n);
        (0..).zip(events).map(explicit).collect()
    };
    let small = [
        Event::new("k", b"x"),
        Event::new("k", b"y"),
        Event::new("l", b"z"),
    ];
    [
        few,
        many(false),
        many(true),
        explicit(&small),
        small.to_vec(),
    ]
    .iter()
    .map(|events| {
        let mut encoder = Encoder::new(KplLimits::default());
        for event in events {
            assert!(encoder.push(*event), "the case is too large");
        }
        let events = events.iter().map(|event| {
            json!([
                event.partition_key,
                event.explicit_hash_key.map(|key| key.to_string()),
                STANDARD.encode_to_string(event.data),
            ])
        });
        json!({
            "record": STANDARD.encode_to_string(encoder.encode()),
            "events": events.collect::<Vec<_>>(),
        })
    })
    .collect()
}
