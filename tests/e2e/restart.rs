//! LocalStack is stopped and restarted. Records from the meantime are delivered.

use integration_tests::{Client, Discards, Kind, Service};

use super::{Delivery, LONG, Stream, by_key, framed, own_localstack, setup};

/// More than one request can carry.
const RECORDS: usize = 700;

/// The destination of the records.
enum Destination {
    Shards(Stream),
    Bucket(Delivery),
}

impl Destination {
    async fn create(service: Service, endpoint: &str) -> Self {
        match service {
            Service::Kinesis => Self::Shards(Stream::create(endpoint, 2).await),
            Service::Firehose => Self::Bucket(Delivery::create(endpoint).await),
        }
    }

    /// Recreates the destination after LocalStack was restarted and forgot it.
    async fn create_again(&self) {
        match self {
            Self::Shards(stream) => stream.create_again().await,
            Self::Bucket(delivery) => delivery.create_again().await,
        }
    }

    async fn record(&self, client: &Client, key: &str, text: &str) {
        let (name, data) = match self {
            Self::Shards(stream) => (stream.name(), text.as_bytes().to_vec()),
            Self::Bucket(delivery) => (delivery.name(), framed(text.as_bytes())),
        };
        client.keep(name, key, data).await;
    }

    /// Fails unless exactly these records, with their keys, have arrived.
    async fn assert_holds(&self, records: impl Iterator<Item = (String, Vec<u8>)>) {
        let holds_them = match self {
            Self::Shards(stream) => stream.by_key().await == by_key(records),
            Self::Bucket(delivery) => {
                let mut expected: Vec<_> = records.map(|(_, data)| data).collect();
                expected.sort();
                delivery.records().await == expected
            }
        };
        assert!(holds_them, "other records have arrived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinesis_records_of_an_outage_are_delivered_after_it() {
    records_of_an_outage_are_delivered_after_it(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_records_of_an_outage_are_delivered_after_it() {
    records_of_an_outage_are_delivered_after_it(Service::Firehose).await;
}

async fn records_of_an_outage_are_delivered_after_it(service: Service) {
    let stack = own_localstack();
    let running = stack.start().await.unwrap();
    let destination = Destination::create(service, stack.endpoint()).await;
    let discards = Discards::default();
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    // If outages counted, a single failure would be one too many.
    let [open, closed] = [0, 1].map(|at| {
        let setup = setup(service, stack.endpoint(), directories[at].path());
        setup.max_retries(0).discards(&discards)
    });
    let reopened = closed.clone();
    let (open, closed) = (open.build().await, closed.build().await);

    destination.record(&open, "open", "before").await;
    assert_eq!(open.flush().await.unwrap().records_flushed, 1);
    running.stop();

    for (client, key) in [(&open, "open"), (&closed, "closed")] {
        for number in 0..RECORDS {
            destination
                .record(client, key, &format!("{key} {number}"))
                .await;
        }
        for _ in 0..2 {
            let error = client.flush().await.unwrap_err();
            assert_eq!(error.kind, Kind::Unknown, "{error:?}");
            assert_eq!(client.cached(), RECORDS);
        }
    }
    closed.close().await.unwrap();
    drop(closed);

    let running = stack.start().await.unwrap();
    destination.create_again().await;
    let reopened = reopened.build().await;
    for client in [&open, &reopened] {
        assert_eq!(client.cached(), RECORDS);
        let drained = client.drain(LONG).await.unwrap();
        assert_eq!(drained.records_flushed, RECORDS);
        assert_eq!(client.cached(), 0);
        client.close().await.unwrap();
    }

    assert!(discards.all().is_empty());
    let expected = ["open", "closed"].into_iter().flat_map(|key| {
        (0..RECORDS).map(move |number| (key.to_owned(), format!("{key} {number}").into_bytes()))
    });
    destination.assert_holds(expected).await;
    running.stop();
}
