//! How the KPL readers of Python and Node read the records that the client sent.
//!
//! `cargo test --workspace --test wire -- --ignored readers` installs the readers below `target/`.

use std::path::Path;

use amplify_test_support::kpl_readers;
use base64_simd::STANDARD;
use integration_tests::{Case, Endpoint, Service, Setup, StoreKind};
use serde_json::{Value, json};

const STREAM: &str = "stream";

#[tokio::test]
#[ignore = "installs the readers, which needs python3, npm and their registries"]
async fn the_readers_of_python_and_node_read_what_the_client_has_sent() {
    let aws = Endpoint::start();
    let case = Case::new(Service::Kinesis, StoreKind::Memory);
    let client = Setup::new(case, &aws).aggregated().build().await;
    let data = |n: usize| vec![u8::try_from(n % 251).unwrap(); n % 700];
    let key = |n: usize| format!("clé-{}", n % 90);
    for n in 0..1_000 {
        client.record_keyed(STREAM, &key(n), data(n)).await.unwrap();
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
    let sent: Vec<Value> = (0..1_000)
        .map(|n| json!([key(n), null, STANDARD.encode_to_string(data(n))]))
        .collect();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
    for (reader, answers) in kpl_readers::read(&cases, &target) {
        let read = answers
            .iter()
            .flat_map(|answer| answer["read"].as_array().unwrap());
        assert!(read.eq(&sent), "{reader}");
    }
}
