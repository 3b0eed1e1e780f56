//! What callers share: a commit, if they wait together, and memory for reads.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::disk::{Settings, Store};
use crate::index::paged::IndexSettings;
use crate::{NewRecord, ReadLimits, StreamName, clock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_share_a_commit() {
    const TASKS: u64 = 64;
    const CALLS: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::new(directory.path().to_owned());
    let store = Store::open(settings, IndexSettings::in_memory()).await;
    let store = Arc::new(store.unwrap());
    let tasks = (0..TASKS).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let stream = StreamName::new("shared").unwrap();
            for _ in 0..CALLS {
                let record = NewRecord::new(stream.clone(), None, vec![1; 100]);
                store.append(vec![record]).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let commits = store.shared.commits.load(Ordering::Relaxed);
    assert!(commits <= TASKS * CALLS / 8, "{commits} commits");
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_memory_of_reads_is_kept_while_they_go_on_and_freed_then() {
    for closes in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().to_owned());
        let store = Store::open(settings, IndexSettings::in_memory());
        let store = store.await.unwrap();
        let stream = StreamName::new("read").unwrap();
        let record = NewRecord::new(stream.clone(), None, vec![1; 50_000]);
        store.append(vec![record]).await.unwrap();
        let start = clock::monotonic();
        let in_time = || assert!(start.elapsed() < Duration::from_secs(30));
        let limits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MIN);
        loop {
            in_time();
            let batch = store.oldest(&stream, None, limits).await.unwrap();
            assert_eq!(batch.records.len(), 1);
            drop(batch);
            if store.shared.buffers.unused_bytes() > 0 {
                break;
            }
        }
        if closes {
            store.close().await.unwrap();
        }
        while store.shared.buffers.unused_bytes() > 0 {
            in_time();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
