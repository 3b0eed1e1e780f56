//! A stream that is split and merged while aggregated events are on their way.

use aggregation::{hash_key, kpl};
use amplify_kinesis::KplLimits;
use integration_tests::{Client, Service, numbered};

use super::{LONG, Stream, endpoint, setup};

/// The events that readers get from all records, and how many they drop. Like the KCL, they drop a
/// whole record if one of its events does not belong to the record's shard.
async fn read(stream: &Stream) -> (Vec<String>, usize) {
    let (mut read, mut dropped) = (Vec::new(), 0);
    for (shard, records) in stream.shards_with_hashes().await {
        for (_, record) in &records {
            let events = kpl::decode(record).unwrap().unwrap();
            for event in &events {
                assert_eq!(event.partition_key.as_bytes(), event.data);
            }
            let keys = events.iter().map(|event| event.partition_key);
            if keys.clone().all(|key| shard.contains(hash_key(key))) {
                read.extend(keys.map(str::to_owned));
            } else {
                dropped += events.len();
            }
        }
    }
    (read, dropped)
}

/// Records events, each with its own text as its key.
async fn record(client: &Client, stream: &Stream, events: &[String]) {
    let keyed = events.iter().map(|event| (stream.name(), &**event, event));
    client.record_all_keyed(keyed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_split_and_merged_loses_no_event() {
    let stream = Stream::create(&endpoint(), 1).await;
    let directory = tempfile::tempdir().unwrap();
    let setup = setup(Service::Kinesis, &endpoint(), directory.path());
    let client = setup.kpl(KplLimits::default()).build().await;
    let mut all = Vec::new();
    let mut dropped_before = 0;
    for round in ["whole", "split", "split-again", "merged"] {
        match round {
            "whole" => {}
            "merged" => stream.merge_first().await,
            _ => stream.split_first().await,
        }
        let events = numbered(round, 300);
        record(&client, &stream, &events).await;
        all.extend(events);
        let done = client.drain(LONG).await.unwrap();
        assert_eq!((done.records_flushed, done.records_retried), (300, 0));
        let (mut read, dropped) = read(&stream).await;
        read.sort();
        all.sort();
        assert_eq!(read, all, "each is read once: {round}");
        let was_split = round.starts_with("split");
        assert_eq!(
            dropped > dropped_before,
            was_split,
            "without the check these are lost"
        );
        dropped_before = dropped;
    }
    client.close().await.unwrap();
    stream.delete().await;
}
