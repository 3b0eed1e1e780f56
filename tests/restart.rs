//! LocalStack is stopped and started again: what was recorded while it was away is delivered.

mod e2e;

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseError};
use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisError};

use self::e2e::{
    Delivery, Discards, LONG, Stream, by_key, firehose, firehose_options, framed, kinesis,
    kinesis_options, own_localstack,
};

/// More than one request carries.
const RECORDS: usize = 700;

#[tokio::test(flavor = "multi_thread")]
async fn kinesis_records_of_an_outage_are_delivered_after_it() {
    let stack = own_localstack();
    let running = stack.start().await.unwrap();
    let stream = Stream::create(stack.endpoint(), 2).await;
    let discards = Discards::default();
    // A single failure would be one too many, if outages counted.
    let options = kinesis_options()
        .max_retries(0)
        .on_discard(discards.handler());
    let (open_directory, closed_directory) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = kinesis(stack.endpoint(), open_directory.path(), options.clone()).await;
    let closed = kinesis(stack.endpoint(), closed_directory.path(), options.clone()).await;

    open.record("before", "open", stream.name()).await.unwrap();
    assert_eq!(open.flush().await.unwrap().records_flushed, 1);
    running.stop();

    for (client, key) in [(&open, "open"), (&closed, "closed")] {
        for number in 0..RECORDS {
            client
                .record(format!("{key} {number}"), key, stream.name())
                .await
                .unwrap();
        }
        for _ in 0..2 {
            flush_fails_and_keeps_everything(client).await;
        }
    }
    closed.close().await.unwrap();
    drop(closed);

    let running = stack.start().await.unwrap();
    stream.create_again().await;
    let reopened = kinesis(stack.endpoint(), closed_directory.path(), options).await;
    for client in [&open, &reopened] {
        assert_eq!(client.cache_stats().records, RECORDS);
        let drained = client.drain(LONG).await.unwrap();
        assert_eq!(drained.records_flushed, RECORDS);
        assert_eq!(client.cache_stats().records, 0);
        client.close().await.unwrap();
    }

    assert!(discards.all().is_empty());
    let expected = ["open", "closed"].into_iter().flat_map(|key| {
        (0..RECORDS).map(move |number| (key.to_owned(), format!("{key} {number}").into_bytes()))
    });
    assert!(
        stream.by_key().await == by_key(expected),
        "the stream holds other records"
    );
    running.stop();

    async fn flush_fails_and_keeps_everything(client: &AmplifyKinesisClient) {
        let error = client.flush().await.unwrap_err();
        assert!(
            matches!(error, AmplifyKinesisError::Unknown { .. }),
            "{error:?}"
        );
        assert_eq!(client.cache_stats().records, RECORDS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_records_of_an_outage_are_delivered_after_it() {
    let stack = own_localstack();
    let running = stack.start().await.unwrap();
    let delivery = Delivery::create(stack.endpoint()).await;
    let discards = Discards::default();
    let options = firehose_options()
        .max_retries(0)
        .on_discard(discards.handler());
    let (open_directory, closed_directory) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = firehose(stack.endpoint(), open_directory.path(), options.clone()).await;
    let closed = firehose(stack.endpoint(), closed_directory.path(), options.clone()).await;

    open.record(framed(b"before"), delivery.name())
        .await
        .unwrap();
    assert_eq!(open.flush().await.unwrap().records_flushed, 1);
    running.stop();

    for (client, name) in [(&open, "open"), (&closed, "closed")] {
        for number in 0..RECORDS {
            let data = framed(format!("{name} {number}").as_bytes());
            client.record(data, delivery.name()).await.unwrap();
        }
        for _ in 0..2 {
            flush_fails_and_keeps_everything(client).await;
        }
    }
    closed.close().await.unwrap();
    drop(closed);

    let running = stack.start().await.unwrap();
    delivery.create_again().await;
    let reopened = firehose(stack.endpoint(), closed_directory.path(), options).await;
    for client in [&open, &reopened] {
        assert_eq!(client.cache_stats().records, RECORDS);
        let drained = client.drain(LONG).await.unwrap();
        assert_eq!(drained.records_flushed, RECORDS);
        assert_eq!(client.cache_stats().records, 0);
        client.close().await.unwrap();
    }

    assert!(discards.all().is_empty());
    let mut expected: Vec<Vec<u8>> = ["open", "closed"]
        .into_iter()
        .flat_map(|name| (0..RECORDS).map(move |number| format!("{name} {number}").into_bytes()))
        .collect();
    expected.sort();
    assert!(
        delivery.records().await == expected,
        "the bucket holds other records"
    );
    running.stop();

    async fn flush_fails_and_keeps_everything(client: &AmplifyFirehoseClient) {
        let error = client.flush().await.unwrap_err();
        assert!(
            matches!(error, AmplifyFirehoseError::Unknown { .. }),
            "{error:?}"
        );
        assert_eq!(client.cache_stats().records, RECORDS);
    }
}
