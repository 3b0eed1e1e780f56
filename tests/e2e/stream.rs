//! A Kinesis stream, read back from its shards.

use std::collections::BTreeMap;
use std::time::Duration;

use aggregation::Shard;
use amplify_test_support::unique_name;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{self, ShardIteratorType, StreamStatus};

use super::{LONG, sdk_config};

/// A Kinesis stream created for one test.
pub(crate) struct Stream {
    client: Client,
    name: String,
    shards: i32,
}

impl Stream {
    pub(crate) async fn create(endpoint: &str, shards: i32) -> Self {
        let stream = Self {
            client: Client::new(&sdk_config(endpoint)),
            name: unique_name("e2e"),
            shards,
        };
        stream.create_again().await;
        stream
    }

    /// Recreates the stream after LocalStack was restarted and forgot it.
    pub(crate) async fn create_again(&self) {
        let request = self.client.create_stream().stream_name(&self.name);
        let request = request.shard_count(self.shards);
        request.send().await.unwrap();
        self.active().await;
    }

    async fn active(&self) {
        tokio::time::timeout(LONG, async {
            while self.status().await != StreamStatus::Active {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Every record's partition key and data, shard by shard, oldest first.
    pub(crate) async fn shards(&self) -> Vec<Vec<(String, Vec<u8>)>> {
        let shards = self.shards_with_hashes().await.into_iter();
        shards.map(|(_, records)| records).collect()
    }

    /// The same, including closed shards, with the hash range of each shard.
    pub(crate) async fn shards_with_hashes(&self) -> Vec<(Shard, Vec<(String, Vec<u8>)>)> {
        let mut shards = Vec::new();
        for shard in self.list().await {
            let records = tokio::time::timeout(LONG, self.records_of(shard.shard_id()));
            let (start, end) = hashes(&shard);
            let hashes = Shard::new(shard.shard_id(), start, end);
            shards.push((hashes, records.await.unwrap()));
        }
        shards
    }

    /// Splits the open shard of hash 0 in the middle.
    pub(crate) async fn split_first(&self) {
        let [first, ..] = &self.open().await[..] else {
            panic!("a stream has a shard");
        };
        let (_, end) = hashes(first);
        let split = self.client.split_shard().stream_name(&self.name);
        let split = split.shard_to_split(first.shard_id());
        let split = split.new_starting_hash_key((end / 2).to_string());
        split.send().await.unwrap();
        self.active().await;
    }

    /// Merges the first two open shards.
    pub(crate) async fn merge_first(&self) {
        let [first, second, ..] = &self.open().await[..] else {
            panic!("two shards are needed for a merge");
        };
        let merge = self.client.merge_shards().stream_name(&self.name);
        let merge = merge.shard_to_merge(first.shard_id());
        let merge = merge.adjacent_shard_to_merge(second.shard_id());
        merge.send().await.unwrap();
        self.active().await;
    }

    async fn list(&self) -> Vec<types::Shard> {
        let list = self.client.list_shards().stream_name(&self.name);
        list.send().await.unwrap().shards.unwrap()
    }

    /// The open shards, ordered by hash.
    async fn open(&self) -> Vec<types::Shard> {
        let mut open = self.list().await;
        open.retain(|shard| {
            let range = shard.sequence_number_range().unwrap();
            range.ending_sequence_number().is_none()
        });
        open.sort_by_key(hashes);
        open
    }

    /// The data of all records by partition key, oldest first.
    pub(crate) async fn by_key(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        by_key(self.shards().await.into_iter().flatten())
    }

    /// Deletes the stream to free its shards, of which LocalStack has a limited number.
    pub(crate) async fn delete(self) {
        let request = self.client.delete_stream().stream_name(&self.name);
        request.send().await.unwrap();
    }

    async fn status(&self) -> StreamStatus {
        let request = self.client.describe_stream_summary();
        let described = request.stream_name(&self.name).send().await.unwrap();
        described.stream_description_summary.unwrap().stream_status
    }

    async fn records_of(&self, shard: &str) -> Vec<(String, Vec<u8>)> {
        let request = self.client.get_shard_iterator().stream_name(&self.name);
        let request = request.shard_id(shard);
        let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let first = request.send().await.unwrap();
        let mut iterator = first.shard_iterator;
        let mut records = Vec::new();
        loop {
            let request = self.client.get_records().set_shard_iterator(iterator);
            let page = request.send().await.unwrap();
            if page.records.is_empty() && page.millis_behind_latest == Some(0) {
                return records;
            }
            for record in page.records {
                records.push((record.partition_key.unwrap(), record.data.into_inner()));
            }
            // A closed shard comes to an end.
            iterator = page.next_shard_iterator;
            if iterator.is_none() {
                return records;
            }
        }
    }
}

/// The first and the last hash of a shard.
fn hashes(shard: &types::Shard) -> (u128, u128) {
    let range = shard.hash_key_range().unwrap();
    let [start, end] = [range.starting_hash_key(), range.ending_hash_key()];
    (start.parse().unwrap(), end.parse().unwrap())
}

/// The data for each partition key, in order.
pub(crate) fn by_key(
    records: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for (key, data) in records {
        keys.entry(key).or_default().push(data);
    }
    keys
}
