//! What a settlement waits for, and what not.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::sim::SimDisk;
use crate::disk::{Settings, Store};
use crate::index::InMemory;
use crate::log::files::{Disk, DiskFile};
use crate::{Amount, NewRecord, ReadLimits, Settlement, StreamName};

/// A disk whose syncs of files take as long as the test wants.
#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Syncs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    begun: usize,
    /// So many may end, or all.
    allowed: Option<usize>,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.begun += 1;
        let number = state.begun;
        self.changed.notify_all();
        let is_held = |state: &mut Syncs| state.allowed.is_some_and(|allowed| allowed < number);
        drop(self.changed.wait_while(state, is_held).unwrap());
    }

    fn allow(&self, syncs: Option<usize>) {
        self.state.lock().unwrap().allowed = syncs;
        self.changed.notify_all();
    }

    fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }

    /// Waits until so many syncs have begun.
    fn wait_for(&self, begun: usize) {
        let state = self.state.lock().unwrap();
        let few = |state: &mut Syncs| state.begun < begun;
        drop(self.changed.wait_while(state, few).unwrap());
    }
}

impl SlowDisk {
    fn slow(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let gate = Arc::clone(&self.gate);
        Arc::new(SlowFile { file, gate })
    }
}

impl Disk for SlowDisk {
    fn path(&self) -> &Path {
        self.disk.path()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        self.disk.is_file(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.slow(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.slow(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        self.disk.make_directory(name)
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.disk.remove_directory(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

impl DiskFile for SlowFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        self.file.read(buffer, length, offset)
    }

    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write(parts, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_does_not_wait_for_the_sync_of_those_who_append_beside_it() {
    let place = TempDir::new().unwrap();
    let gate = Arc::new(Gate::default());
    let (disk, at_the_gate) = (SimDisk::new(place.path()), Arc::clone(&gate));
    let slow = move |_: &Path| {
        let gate = at_the_gate;
        Ok(Arc::new(SlowDisk { disk, gate }) as Arc<dyn Disk>)
    };
    let indexes = |_: &Path| Box::new(InMemory) as Box<_>;
    let settings = Settings::new(place.path().join("cache"));
    let store = Store::open_on(settings, indexes, slow).await.unwrap();
    let store = Arc::new(store);
    let stream = StreamName::new("a").unwrap();
    let append = |data: &'static str| {
        let (store, stream) = (Arc::clone(&store), stream.clone());
        tokio::spawn(async move { store.append(vec![NewRecord::new(stream, None, data)]).await })
    };
    append("first").await.unwrap().unwrap();
    let one = ReadLimits::new(std::num::NonZeroUsize::MIN, std::num::NonZeroU64::MIN);
    let first = store.oldest(&stream, None, one).await.unwrap().records[0].id;

    let syncs = gate.begun();
    gate.allow(Some(syncs));
    let second = append("second");
    gate.wait_for(syncs + 1);
    let third = append("third");
    let settling = tokio::spawn({
        let (store, settlement) = (Arc::clone(&store), Settlement::new(stream.clone()));
        async move { store.settle(settlement.delete([first])).await }
    });
    while store.shared.requests.len() < 2 {
        tokio::task::yield_now().await;
    }
    gate.allow(Some(syncs + 1));
    second.await.unwrap().unwrap();
    let settled = timeout(Duration::from_secs(10), settling).await;
    let removed = settled.expect("answered without a sync").unwrap().unwrap();
    assert_eq!(removed, Amount::new(1, 5));
    assert!(!third.is_finished());
    gate.allow(None);
    third.await.unwrap().unwrap();
    assert_eq!(store.stats().records(), 2);
    store.close().await.unwrap();
}
