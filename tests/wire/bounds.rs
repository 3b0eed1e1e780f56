//! Records at the exact size limits of Firehose.

use std::io::Read;

use amplify_firehose::{
    Aggregation, AmplifyFirehoseClient, AmplifyFirehoseClientOptions, Compression, Concatenation,
    FirehoseRecord,
};
use integration_tests::Endpoint;

use super::clients::firehose;

const STREAM: &str = "stream";
const MOST: usize = 1_024_000;

async fn client(aws: &Endpoint, joined: Concatenation) -> AmplifyFirehoseClient {
    let options = AmplifyFirehoseClientOptions::default()
        .cache_max_bytes(64 << 20)
        .aggregation(Aggregation::Concatenate(joined));
    firehose(aws, options).build().await.unwrap()
}

async fn record(client: &AmplifyFirehoseClient, payloads: &[Vec<u8>]) {
    let records = payloads
        .iter()
        .map(|data| FirehoseRecord::new(data, STREAM));
    client.record_all(records).await.unwrap();
}

fn sizes(aws: &Endpoint) -> Vec<usize> {
    let records = aws.delivered(STREAM).into_iter();
    records.map(|record| record.data.len()).collect()
}

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| random.u8(..)).collect()
}

#[tokio::test]
async fn payloads_and_delimiters_fill_a_record_to_the_byte() {
    for (last, expected) in [(10, vec![MOST]), (11, vec![MOST - 11, 12])] {
        let aws = Endpoint::start();
        let client = client(&aws, Concatenation::default()).await;
        let first = MOST - 1 - 11;
        record(&client, &[vec![b'x'; first], vec![b'y'; last]]).await;
        assert_eq!(client.flush().await.unwrap().records_flushed, 2);
        assert_eq!(sizes(&aws), expected);
    }
    let aws = Endpoint::start();
    let client = client(&aws, Concatenation::default()).await;
    record(&client, &vec![b"\n".to_vec(); 1_001]).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 1_001);
    assert_eq!(sizes(&aws), [500, 500, 1]);
}

#[tokio::test]
async fn a_request_of_full_records_keeps_to_four_mebibytes() {
    for size in [MOST - 1, MOST / 2 - 1, MOST / 3, 9_999] {
        let aws = Endpoint::start();
        let client = client(&aws, Concatenation::default()).await;
        let count = (12 << 20) / size;
        record(&client, &vec![vec![b'x'; size]; count]).await;
        let mut requests = 0;
        while client.cache_stats().records > 0 {
            client.flush().await.unwrap();
            requests += 1;
            assert!(requests <= 5, "requests of {size} are not filled");
        }
        assert_eq!(sizes(&aws).iter().sum::<usize>(), count * (size + 1));
    }
}

#[tokio::test]
async fn what_does_not_compress_is_bounded_all_the_same() {
    for max_bytes in [1_000, 70_000, MOST] {
        let aws = Endpoint::start();
        let gzip = Concatenation::default()
            .max_bytes(max_bytes)
            .compression(Compression::Gzip);
        let client = client(&aws, gzip).await;
        let noise: Vec<_> = noise(3 << 20);
        let payloads: Vec<_> = noise.chunks(max_bytes / 7).map(<[u8]>::to_vec).collect();
        record(&client, &payloads).await;
        let mut flushed = 0;
        while client.cache_stats().records > 0 {
            flushed += client.flush().await.unwrap().records_flushed;
        }
        assert_eq!(flushed, payloads.len());
        assert!(sizes(&aws).iter().all(|size| *size <= max_bytes));
        let object = aws.delivered(STREAM).into_iter();
        let object: Vec<_> = object.flat_map(|record| record.data.to_vec()).collect();
        let mut read = Vec::new();
        let mut members = flate2::read::MultiGzDecoder::new(&object[..]);
        members.read_to_end(&mut read).unwrap();
        let lines = payloads.iter().flat_map(|payload| match payload.last() {
            Some(b'\n') => payload.clone(),
            _ => [payload, &b"\n"[..]].concat(),
        });
        assert!(lines.eq(read));
    }
}

#[tokio::test]
async fn the_largest_payload_that_does_not_compress_is_taken_and_one_more_byte_is_refused() {
    let aws = Endpoint::start();
    let gzip = Concatenation::default().compression(Compression::Gzip);
    let client = client(&aws, gzip).await;
    let noise = noise(MOST);
    let mut accepted = 0;
    for size in MOST - 200..=MOST {
        match client.record(&noise[..size], STREAM).await {
            Ok(_) => accepted = size,
            Err(_) => assert!(accepted < size),
        }
        client
            .drain(std::time::Duration::from_secs(30))
            .await
            .unwrap();
    }
    assert!(accepted > MOST - 200 && accepted < MOST);
    assert_eq!(client.cache_stats().records, 0);
    let largest = sizes(&aws).into_iter().max();
    assert!(
        largest <= Some(MOST) && largest > Some(MOST - 10),
        "{largest:?}"
    );
}
