//! LocalStack fails every second request, on purpose.

mod e2e;

use amplify_kinesis::KinesisRecord;

use self::e2e::{Discards, LONG, Stream, by_key, kinesis, kinesis_options, own_localstack};

/// The chance that no request of a run fails is below one in a billion.
const RECORDS: usize = 15_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_although_half_of_the_requests_fail() {
    let stack = own_localstack().setting("KINESIS_ERROR_PROBABILITY", "0.5");
    let running = stack.start().await.unwrap();
    let streams = [
        Stream::create(stack.endpoint(), 1).await,
        Stream::create(stack.endpoint(), 2).await,
    ];
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    // LocalStack fails whole requests, and so charges the same records again and again.
    let options = kinesis_options()
        .max_retries(1_000)
        .on_discard(discards.handler());
    let client = kinesis(stack.endpoint(), directory.path(), options).await;

    let records = (0..RECORDS).map(|number| {
        let stream = &streams[number % streams.len()];
        KinesisRecord::new(number.to_string(), "key", stream.name())
    });
    client.record_all(records).await.unwrap();
    let (mut flushed, mut retried) = (0, 0);
    tokio::time::timeout(LONG, async {
        // A drain gives up after a pass without progress, which is what half of them are.
        while client.cache_stats().records > 0 {
            let drained = client.drain(LONG).await.unwrap();
            flushed += drained.records_flushed;
            retried += drained.records_retried;
        }
    })
    .await
    .unwrap();
    client.close().await.unwrap();

    assert_eq!(flushed, RECORDS);
    assert!(retried > 0, "no request failed");
    assert!(discards.all().is_empty());
    for (index, stream) in streams.iter().enumerate() {
        let sent = (index..RECORDS).step_by(streams.len());
        let expected = by_key(sent.map(|number| ("key".to_owned(), number.to_string().into())));
        assert!(
            stream.by_key().await == expected,
            "{} holds other records",
            stream.name()
        );
    }
    running.stop();
}
