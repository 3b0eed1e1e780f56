//! Records on their way from `record()` into the bucket behind a Firehose delivery stream of
//! LocalStack.

mod e2e;

use amplify_firehose::FirehoseRecord;
use integration_tests::unique_name;

use self::e2e::{Delivery, Discards, LONG, endpoint, firehose, firehose_options, framed};

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_byte_for_byte_and_in_order() {
    let delivery = Delivery::create(&endpoint()).await;
    let directory = tempfile::tempdir().unwrap();
    let client = firehose(&endpoint(), directory.path(), firehose_options()).await;

    let mut records = various_records(1_203);
    client
        .record_all(
            records
                .iter()
                .map(|data| FirehoseRecord::new(framed(data), delivery.name())),
        )
        .await
        .unwrap();

    let first = client.flush().await.unwrap();
    assert_eq!(first.records_flushed, 500);
    let rest = client.drain(LONG).await.unwrap();
    assert_eq!(rest.records_flushed, 703);
    assert_eq!(client.cache_stats().records, 0);
    client.close().await.unwrap();

    let requests = delivery.requests().await;
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert!(
            request.is_sorted(),
            "the records of a request are out of order"
        );
    }
    records.sort();
    assert!(
        delivery.records().await == records,
        "the bucket holds other records"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_named_and_the_others_are_delivered() {
    let delivery = Delivery::create(&endpoint()).await;
    let missing = unique_name("missing");
    let directory = tempfile::tempdir().unwrap();
    let client = firehose(&endpoint(), directory.path(), firehose_options()).await;

    for name in [missing.as_str(), delivery.name()] {
        for data in ["one", "three", "two"] {
            client.record(framed(data.as_bytes()), name).await.unwrap();
        }
    }
    let flushed = client.flush().await.unwrap();

    assert_eq!(flushed.records_flushed, 3);
    assert_eq!(flushed.records_retried, 3);
    let [skipped] = flushed.skipped_streams.as_slice() else {
        panic!("one stream is missing: {:?}", flushed.skipped_streams);
    };
    assert_eq!(skipped.stream_name, missing);
    assert_eq!(skipped.code.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(client.cache_stats().records, 3);
    client.close().await.unwrap();

    assert_eq!(delivery.records().await, [&b"one"[..], b"three", b"two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlast_a_service_that_fails() {
    let delivery = Delivery::without_bucket(&endpoint()).await;
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    let options = firehose_options()
        .max_retries(0)
        .on_discard(discards.handler());
    let client = firehose(&endpoint(), directory.path(), options).await;

    client
        .record(framed(b"patient"), delivery.name())
        .await
        .unwrap();
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

/// In sorted order; payloads of every byte, and a large one.
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
