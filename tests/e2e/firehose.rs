//! Records on their way from `record()` to the bucket behind a LocalStack delivery stream.

use amplify_test_support::unique_name;
use integration_tests::{Discards, Service, Setup};
use tempfile::TempDir;

use super::{Delivery, LONG, assert_skipped_as_missing, endpoint, framed, setup};

fn firehose(directory: &TempDir) -> Setup {
    setup(Service::Firehose, &endpoint(), directory.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_byte_for_byte_and_in_order() {
    let delivery = Delivery::create(&endpoint()).await;
    let directory = tempfile::tempdir().unwrap();
    let client = firehose(&directory).build().await;

    let mut records = various_records(1_203);
    let framed = records.iter().map(|data| framed(data));
    client.record_to(delivery.name(), framed).await;

    let first = client.flush().await.unwrap();
    assert_eq!(first.records_flushed, 500);
    let rest = client.drain(LONG).await.unwrap();
    assert_eq!(rest.records_flushed, 703);
    assert_eq!(client.cached(), 0);
    client.close().await.unwrap();

    let requests = delivery.requests().await;
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert!(request.is_sorted(), "a request is out of order");
    }
    records.sort();
    let arrived = delivery.records().await;
    assert!(arrived == records, "the bucket holds other records");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_named_and_the_others_are_delivered() {
    let delivery = Delivery::create(&endpoint()).await;
    let missing = unique_name("missing");
    let directory = tempfile::tempdir().unwrap();
    let client = firehose(&directory).build().await;

    for name in [missing.as_str(), delivery.name()] {
        for data in ["one", "three", "two"] {
            client.record(name, framed(data.as_bytes())).await.unwrap();
        }
    }
    let flushed = client.flush().await.unwrap();

    assert_skipped_as_missing(&flushed, &missing);
    assert_eq!(client.cached(), 3);
    client.close().await.unwrap();

    assert_eq!(delivery.records().await, [&b"one"[..], b"three", b"two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlast_a_service_that_fails() {
    let delivery = Delivery::without_bucket(&endpoint()).await;
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    let setup = firehose(&directory).max_retries(0).discards(&discards);
    let client = setup.build().await;

    client
        .record_to(delivery.name(), [framed(b"patient")])
        .await;
    for _ in 0..2 {
        let flushed = client.flush().await.unwrap();
        assert_eq!(flushed.records_flushed, 0);
        assert_eq!(flushed.records_retried, 0);
        assert_eq!(flushed.skipped_streams.len(), 1);
        assert_eq!(flushed.skipped_streams[0].stream_name, delivery.name());
    }

    delivery.create_bucket().await;
    let flushed = client.flush().await.unwrap();
    assert_eq!(flushed.records_flushed, 1);
    assert!(discards.all().is_empty());
    client.close().await.unwrap();

    assert_eq!(delivery.records().await, [b"patient"]);
}

/// Sorted payloads that cover every byte, one of them large.
fn various_records(count: u32) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    (0..count)
        .map(|number| {
            let data = match number {
                1 => bytes.repeat(2_000),
                _ => bytes[..number as usize % 257].to_vec(),
            };
            [&number.to_be_bytes(), data.as_slice()].concat()
        })
        .collect()
}
