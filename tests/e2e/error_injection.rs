//! LocalStack fails half of all requests on purpose.

use integration_tests::{Discards, Service};

use super::{LONG, Stream, by_key, own_localstack, setup};

const STREAMS: usize = 4;
/// Each round takes at least one request per stream, so the chance that no request fails is below
/// one in four billion.
const ROUNDS: usize = 8;
const RECORDS_OF_A_ROUND: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_although_half_of_the_requests_fail() {
    let stack = own_localstack().setting("KINESIS_ERROR_PROBABILITY", "0.5");
    let running = stack.start().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(Stream::create(stack.endpoint(), 1).await);
    }
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    // LocalStack fails whole requests, and so charges the same records again and again.
    let setup = setup(Service::Kinesis, stack.endpoint(), directory.path());
    let client = setup.max_retries(1_000).discards(&discards).build().await;

    let (mut flushed, mut retried) = (0, 0);
    for round in 0..ROUNDS {
        let records = streams
            .iter()
            .flat_map(|stream| data_of(round).map(|data| (stream.name(), "key", data)));
        client.record_all_keyed(records).await.unwrap();
        // A drain gives up after a pass without progress, and such passes occur.
        tokio::time::timeout(LONG, async {
            while client.cached() > 0 {
                let drained = client.drain(LONG).await.unwrap();
                flushed += drained.records_flushed;
                retried += drained.records_retried;
            }
        })
        .await
        .unwrap();
    }
    client.close().await.unwrap();

    assert_eq!(flushed, STREAMS * ROUNDS * RECORDS_OF_A_ROUND);
    assert!(retried > 0, "no request failed");
    assert!(discards.all().is_empty());
    let sent = (0..ROUNDS).flat_map(data_of);
    let expected = by_key(sent.map(|data| ("key".to_owned(), data.into_bytes())));
    for stream in &streams {
        assert!(
            stream.by_key().await == expected,
            "{} holds other records",
            stream.name()
        );
    }
    running.stop();
}

fn data_of(round: usize) -> impl Iterator<Item = String> {
    (0..RECORDS_OF_A_ROUND).map(move |number| format!("{round} {number}"))
}
