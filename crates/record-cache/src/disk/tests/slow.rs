//! A disk whose operations take as long as a test wants.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use super::sim::SimDisk;
use crate::StoreError;
use crate::disk::{Settings, Store};
use crate::index::Indexes;
use crate::log::files::{Disk, DiskFile};

/// Opens a store on a disk that hangs while the gate says so.
pub(crate) async fn open_slow(
    disk: &SimDisk,
    gate: &Arc<Gate>,
    settings: Settings,
    indexes: impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
) -> Result<Store, StoreError> {
    let slow = SlowDisk::new(disk.clone(), gate);
    let slow = move |_: &Path| Ok(Arc::new(slow) as Arc<dyn Disk>);
    Store::open_on(settings, indexes, slow).await
}

#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
    _user: Arc<()>,
}

#[derive(Debug)]
struct SlowFile {
    disk: SimDisk,
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

/// Controls when operations may continue.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    user: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The operation that is held back.
    held: Option<&'static str>,
    syncs_begun: usize,
    /// How many of these were not on the writer thread.
    syncs_aside: usize,
    /// Whether the directory and its files were deleted.
    gone: bool,
    /// The highest number of a sync that may end. `None` allows all.
    syncs_allowed: Option<usize>,
    /// Files closed, or being closed, on the second thread.
    closes_aside: usize,
    /// Whether there is no space until a file is closed.
    full: bool,
    writes_refused: usize,
}

impl Gate {
    fn pass(&self, operation: &str) {
        let mut state = self.state.lock().unwrap();
        let mut number = 0;
        if operation == "sync" {
            state.syncs_begun += 1;
            state.syncs_aside += usize::from(is_aside());
            number = state.syncs_begun;
        }
        self.changed.notify_all();
        let is_held = |state: &mut State| {
            let syncs = state.syncs_allowed.is_some_and(|allowed| allowed < number);
            syncs || state.held == Some(operation)
        };
        drop(self.changed.wait_while(state, is_held).unwrap());
    }

    /// Holds back all operations of this name.
    pub(crate) fn hold(&self, operation: &'static str) {
        self.state.lock().unwrap().held = Some(operation);
    }

    pub(crate) fn release(&self) {
        self.state.lock().unwrap().held = None;
        self.changed.notify_all();
    }

    /// How many users the gate has.
    pub(crate) fn users(&self) -> usize {
        Arc::strong_count(&self.user) - 1
    }

    pub(crate) fn allow_syncs(&self, syncs: Option<usize>) {
        self.state.lock().unwrap().syncs_allowed = syncs;
        self.changed.notify_all();
    }

    /// Lets writes fail until a file is closed.
    #[cfg(unix)]
    pub(crate) fn fill(&self) {
        self.state.lock().unwrap().full = true;
    }

    #[cfg(unix)]
    pub(crate) fn writes_refused(&self) -> usize {
        self.state.lock().unwrap().writes_refused
    }

    #[cfg(unix)]
    pub(crate) fn closes_aside(&self) -> usize {
        self.state.lock().unwrap().closes_aside
    }

    fn refuse_if_full(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.full {
            state.writes_refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(crate) fn delete(&self) {
        self.state.lock().unwrap().gone = true;
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().unwrap().gone
    }

    pub(crate) fn syncs_aside(&self) -> usize {
        self.state.lock().unwrap().syncs_aside
    }

    pub(crate) fn syncs_begun(&self) -> usize {
        self.state.lock().unwrap().syncs_begun
    }

    /// Waits until this many syncs have begun.
    pub(crate) fn wait_for_syncs(&self, begun: usize) {
        let state = self.state.lock().unwrap();
        let few = |state: &mut State| state.syncs_begun < begun;
        drop(self.changed.wait_while(state, few).unwrap());
    }
}

/// Whether this is the thread that works aside of the writer.
fn is_aside() -> bool {
    let thread = std::thread::current();
    thread.name().is_some_and(|name| name.ends_with("-aside"))
}

impl SlowDisk {
    fn new(disk: SimDisk, gate: &Arc<Gate>) -> Self {
        Self {
            disk,
            gate: Arc::clone(gate),
            _user: Arc::clone(&gate.user),
        }
    }

    fn slow(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let (disk, gate) = (self.disk.clone(), Arc::clone(&self.gate));
        Arc::new(SlowFile { disk, file, gate })
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
        self.gate.pass("open");
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

    fn is_gone(&self) -> bool {
        self.gate.is_gone()
    }

    fn make_again(&self) -> io::Result<Arc<dyn Disk>> {
        self.gate.state.lock().unwrap().gone = false;
        Ok(Arc::new(Self::new(self.disk.clone(), &self.gate)))
    }
}

impl DiskFile for SlowFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        self.gate.pass("read");
        self.file.read(buffer, length, offset)
    }

    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.gate.pass("write");
        self.gate.refuse_if_full()?;
        self.file.write(parts, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        let now = self.disk.events();
        self.gate.pass("sync");
        self.disk.next_sync_began(now);
        self.file.sync()
    }

    fn is_gone(&self) -> bool {
        self.gate.is_gone()
    }
}

impl Drop for SlowFile {
    fn drop(&mut self) {
        if is_aside() {
            self.gate.state.lock().unwrap().closes_aside += 1;
            self.gate.pass("close aside");
        }
        self.gate.state.lock().unwrap().full = false;
    }
}
