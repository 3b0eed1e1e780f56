//! How the KPL readers of Python and Node read the records that the client sent.
//!
//! `cargo test --workspace --test wire -- --ignored readers` installs the readers below `target/`.

use std::path::Path;

use amplify_kinesis::{Aggregation, AmplifyKinesisClientOptions, KinesisRecord, KplLimits};
use amplify_test_support::kpl_readers;
use base64_simd::STANDARD;
use integration_tests::Endpoint;
use serde_json::{Value, json};

use super::clients::kinesis;

const STREAM: &str = "stream";

#[tokio::test]
#[ignore = "installs the readers, which needs python3, npm and their registries"]
async fn the_readers_of_python_and_node_read_what_the_client_has_sent() {
    let aws = Endpoint::start();
    let options = AmplifyKinesisClientOptions::default();
    let options = options.aggregation(Aggregation::Kpl(KplLimits::default()));
    let client = kinesis(&aws, options).in_memory().build().await.unwrap();
    let data = |n: usize| vec![u8::try_from(n % 251).unwrap(); n % 700];
    let key = |n: usize| format!("clé-{}", n % 90);
    // Every third event has one.
    let hash_key = |n: usize| n.is_multiple_of(3).then(|| u128::MAX / 1_000 * n as u128);
    for n in 0..1_000 {
        let mut record = KinesisRecord::new(data(n), key(n), STREAM);
        if let Some(hash_key) = hash_key(n) {
            record = record.explicit_hash_key(hash_key);
        }
        client.record_all([record]).await.unwrap();
    }
    client
        .drain(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    let records = aws.delivered(STREAM).into_iter();
    let cases: Vec<Value> = records
        .map(|record| json!({ "record": STANDARD.encode_to_string(&record.data), "events": [] }))
        .collect();
    assert!(cases.len() < 20, "they share records");
    // Events with a hash key are in other records than those without.
    let (hashed, plain): (Vec<_>, Vec<_>) = (0..1_000).partition(|&n| hash_key(n).is_some());
    let sent = [hashed, plain].map(|numbers| -> Vec<Value> {
        let event = |n| {
            let hash_key = hash_key(n).map(|hash_key| hash_key.to_string());
            json!([key(n), hash_key, STANDARD.encode_to_string(data(n))])
        };
        numbers.into_iter().map(event).collect()
    });
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
    for (reader, answers) in kpl_readers::read(&cases, &target) {
        let read = answers
            .iter()
            .flat_map(|answer| answer["read"].as_array().unwrap());
        let (hashed, plain): (Vec<_>, Vec<_>) =
            read.cloned().partition(|event| !event[1].is_null());
        assert!([hashed, plain] == sent, "{reader}");
    }
}
