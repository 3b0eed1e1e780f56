//! A Kinesis stream, read back from its shards.

use std::collections::BTreeMap;
use std::time::Duration;

use amplify_test_support::unique_name;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};

use super::{LONG, sdk_config};

/// A Kinesis stream that was made for one test.
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

    /// Makes the stream once more, after LocalStack was restarted and forgot it.
    pub(crate) async fn create_again(&self) {
        let request = self.client.create_stream();
        request
            .stream_name(&self.name)
            .shard_count(self.shards)
            .send()
            .await
            .unwrap();
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
        let listed = self
            .client
            .list_shards()
            .stream_name(&self.name)
            .send()
            .await
            .unwrap();
        let mut shards = Vec::new();
        for shard in listed.shards() {
            let records = tokio::time::timeout(LONG, self.records_of(shard.shard_id()));
            shards.push(records.await.unwrap());
        }
        shards
    }

    /// The data of every record, oldest first among those of one partition key.
    pub(crate) async fn by_key(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        by_key(self.shards().await.into_iter().flatten())
    }

    /// Gives the shards back; LocalStack has a limited number of them.
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
            iterator = page.next_shard_iterator;
        }
    }
}

/// The data for each partition key, order kept.
pub(crate) fn by_key(
    records: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for (key, data) in records {
        keys.entry(key).or_default().push(data);
    }
    keys
}
