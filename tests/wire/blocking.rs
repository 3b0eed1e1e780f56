//! Recording from threads outside any runtime.

use std::thread;
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, OverflowPolicy,
};
use integration_tests::Endpoint;
use tokio::runtime::{Builder, Runtime};

use super::clients::kinesis;

async fn client(aws: &Endpoint) -> AmplifyKinesisClient {
    let options = AmplifyKinesisClientOptions::default()
        .cache_max_bytes(160)
        .overflow_policy(OverflowPolicy::DropOldest);
    kinesis(aws, options).in_memory().build().await.unwrap()
}

fn is_refused<T>(result: &Result<T, AmplifyKinesisError>) -> bool {
    matches!(result, Err(AmplifyKinesisError::Validation { message, .. })
        if message.starts_with("record_blocking"))
}

#[test]
fn a_thread_of_its_own_records_and_the_runtime_delivers() {
    let aws = Endpoint::start();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(client(&aws));
    let stream = client.stream("stream").unwrap();
    let threads = (0..4).map(|n: u8| {
        let (client, stream) = (client.clone(), stream.clone());
        thread::spawn(move || {
            client.record_blocking(vec![n], "k", "stream").unwrap();
            // Drops the oldest records to make room, which takes a task of the runtime.
            stream.record_blocking(vec![n; 100], "k").unwrap();
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    assert!(client.cache_stats().records > 0);
    let delivered = runtime.block_on(client.drain(Duration::from_secs(60)));
    assert!(delivered.unwrap().records_flushed > 0);
    runtime.block_on(client.close()).unwrap();
    let closed = client.record_blocking("1", "k", "stream");
    assert!(matches!(closed, Err(AmplifyKinesisError::ClientClosed)));
}

#[test]
fn where_it_would_never_end_it_is_refused_at_once() {
    let aws = Endpoint::start();
    let single = Builder::new_current_thread().enable_all().build().unwrap();
    let client_of_single = single.block_on(client(&aws));
    // Nothing drives that runtime's tasks now.
    assert!(is_refused(
        &client_of_single.record_blocking("1", "k", "stream")
    ));
    let several = Runtime::new().unwrap();
    let client_of_several = several.block_on(client(&aws));
    for runtime in [&single, &several] {
        for client in [&client_of_single, &client_of_several] {
            let record = async || client.record_blocking("1", "k", "stream");
            assert!(is_refused(&runtime.block_on(record())));
        }
    }
    let in_a_task = several.spawn(async move { client_of_several.record_blocking("1", "k", "s") });
    assert!(is_refused(&several.block_on(in_a_task).unwrap()));
}

#[test]
fn a_runtime_that_has_ended_is_no_panic() {
    let aws = Endpoint::start();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(client(&aws));
    runtime.shutdown_timeout(Duration::from_secs(60));
    drop(client.record_blocking("1", "k", "stream"));
}
