//! A Firehose delivery stream and its bucket.

use std::time::Duration;

use amplify_test_support::localstack::Bucket;
use amplify_test_support::unique_name;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::types::{
    BufferingHints, CompressionFormat, DeliveryStreamStatus, DeliveryStreamType,
    EncryptionConfiguration, ExtendedS3DestinationConfiguration,
};

use super::{LONG, sdk_config};

/// A Firehose delivery stream created for one test, and the bucket it writes to.
pub(crate) struct Delivery {
    client: Client,
    bucket: Bucket,
    name: String,
}

impl Delivery {
    pub(crate) async fn create(endpoint: &str) -> Self {
        let delivery = Self::without_bucket(endpoint).await;
        delivery.bucket.create().await.unwrap();
        delivery
    }

    /// A delivery stream that cannot deliver yet.
    pub(crate) async fn without_bucket(endpoint: &str) -> Self {
        let name = unique_name("e2e");
        let bucket = Bucket::new(endpoint, &name);
        let delivery = Self {
            client: Client::new(&sdk_config(endpoint)),
            bucket,
            name,
        };
        delivery.create_stream().await;
        delivery
    }

    /// Recreates stream and bucket after LocalStack was restarted and forgot them.
    pub(crate) async fn create_again(&self) {
        self.bucket.create().await.unwrap();
        self.create_stream().await;
    }

    pub(crate) async fn create_bucket(&self) {
        self.bucket.create().await.unwrap();
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The records of each object in the bucket. One object holds the records of one request.
    pub(crate) async fn requests(&self) -> Vec<Vec<Vec<u8>>> {
        let objects = self.bucket.objects().await.unwrap();
        objects.iter().map(|object| unframed(object)).collect()
    }

    /// Every record in the bucket, sorted.
    pub(crate) async fn records(&self) -> Vec<Vec<u8>> {
        let mut records = self.requests().await.concat();
        records.sort();
        records
    }

    async fn create_stream(&self) {
        let destination = ExtendedS3DestinationConfiguration::builder()
            .bucket_arn(self.bucket.arn())
            .role_arn("arn:aws:iam::000000000000:role/e2e")
            // LocalStack returns only what it was given, and the SDK requires these fields.
            .buffering_hints(BufferingHints::builder().build())
            .compression_format(CompressionFormat::Uncompressed)
            .encryption_configuration(EncryptionConfiguration::builder().build())
            .build()
            .unwrap();
        self.client
            .create_delivery_stream()
            .delivery_stream_name(&self.name)
            .delivery_stream_type(DeliveryStreamType::DirectPut)
            .extended_s3_destination_configuration(destination)
            .send()
            .await
            .unwrap();
        tokio::time::timeout(LONG, async {
            while self.status().await != DeliveryStreamStatus::Active {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
    }

    async fn status(&self) -> DeliveryStreamStatus {
        let request = self.client.describe_delivery_stream();
        let request = request.delivery_stream_name(&self.name);
        let described = request.send().await.unwrap();
        let description = described.delivery_stream_description;
        description.unwrap().delivery_stream_status
    }
}

/// Prefixes a record with its length, since Firehose puts nothing between two records.
pub(crate) fn framed(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes(), data].concat()
}

fn unframed(mut object: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = object.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (data, rest) = rest.split_at(length);
        records.push(data.to_vec());
        object = rest;
    }
    assert!(object.is_empty(), "an object ends within a record");
    records
}
