//! Callers that wait together are served together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Settings, Store};
use crate::index::paged::IndexSettings;
use crate::{NewRecord, StreamName};

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
