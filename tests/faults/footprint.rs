//! A dropped client leaves nothing behind. The test runs in its own process to count threads.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use amplify_kinesis::Durability;
use amplify_test_support::Reply;
use integration_tests::{Case, Endpoint, SERVICES, Setup, StoreKind, eventually};
use tokio::runtime::Handle;

const STREAM: &str = "stream";

/// The threads of this process by name, without those of runtimes and the shared ones that sled
/// starts once and never ends.
fn threads() -> BTreeMap<String, usize> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end during the walk.
        let Ok(name) = fs::read_to_string(task.unwrap().path().join("comm")) else {
            continue;
        };
        let name = name.trim();
        if !name.starts_with("sled-io-") && !name.starts_with("tokio-") {
            *threads.entry(name.to_owned()).or_default() += 1;
        }
    }
    threads
}

/// Creates a client, uses it and drops its clones without closing.
async fn live(case: Case, aws: &Endpoint, last: Reply) {
    let setup = Setup::new(case, aws)
        .flush_every(Duration::from_millis(5))
        .durability(Durability::ProcessCrash)
        .request_timeout(Duration::from_millis(100));
    let client = setup.build().await;
    let clones = [client.clone(), client.clone()];
    for n in 0..50 {
        client.record(STREAM, format!("{n}")).await.unwrap();
    }
    // On a busy machine a request may exceed its short timeout.
    eventually("all are delivered", async || {
        let _ = client.drain(Duration::from_secs(30)).await;
        client.cached() == 0
    })
    .await;
    aws.always(move |_| last.clone());
    let before = aws.request_count();
    client.record(STREAM, "last").await.unwrap();
    aws.until(|aws| aws.request_count() > before).await;
    aws.clear_script();
    drop(client);
    drop(clones);
}

#[test]
fn threads_and_tasks_end_after_the_last_clone_was_dropped() {
    let aws = Endpoint::start();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        // A starting thread has the name of its parent at first.
        eventually("each thread goes by its own name", async || {
            threads().values().all(|&count| count == 1)
        })
        .await;
        let before = (threads(), tasks());
        for service in SERVICES {
            for store in StoreKind::USUAL {
                let case = Case { service, store };
                for last in [Reply::Accept, Reply::Reset, Reply::Hang] {
                    live(case, &aws, last.clone()).await;
                    eventually(
                        &format!("as it was before {case:?}, {last:?}"),
                        async || (threads(), tasks()) == before,
                    )
                    .await;
                }
            }
        }
    });
}
