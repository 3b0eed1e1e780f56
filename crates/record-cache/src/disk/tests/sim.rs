//! An in-memory disk that records each operation.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::files::{Disk, DiskFile};

/// The unit that a power loss keeps or loses as a whole.
const SECTOR: usize = 512;

/// A disk and everything done to it since its creation.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Content,
    /// The contents before the first event, which are never lost.
    before: Content,
    events: Vec<Event>,
    faults: Vec<Fault>,
    operations: usize,
    read_faults: Vec<Fault>,
    reads: usize,
    bytes_read: u64,
    /// When the next sync began, if not when it ends.
    sync_begun: Option<usize>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Event {
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: usize,
        length: usize,
    },
    /// Covers the events before it began.
    Sync {
        file: usize,
        begun: usize,
    },
    SyncFailed {
        file: usize,
    },
    Name {
        name: String,
        file: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncNames,
}

/// A range of operations that fail, counted from the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    from: usize,
    pub(crate) to: usize,
    kind: io::ErrorKind,
}

impl Fault {
    pub(crate) fn new(operations: Range<usize>, kind: io::ErrorKind) -> Self {
        let (from, to) = (operations.start, operations.end);
        Self { from, to, kind }
    }
}

/// A random number generator with the same output in every run.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

impl SimDisk {
    pub(crate) fn events(&self) -> usize {
        self.lock().events.len()
    }

    /// How many operations have changed the disk so far, including failed ones.
    pub(crate) fn operations(&self) -> usize {
        self.lock().operations
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Lets this many operations succeed, and makes the next ones fail.
    pub(crate) fn fail_after(&self, successes: usize, failures: usize) {
        let from = self.operations() + successes;
        self.fail(Fault::new(from..from + failures, io::ErrorKind::Other));
    }

    /// Makes the next sync begin at this event, so that it may not cover later writes.
    pub(crate) fn next_sync_began(&self, event: usize) {
        self.lock().sync_begun = Some(event);
    }

    /// How many reads there were so far, including failed ones.
    pub(crate) fn reads(&self) -> usize {
        self.lock().reads
    }

    /// Bytes read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// Makes reads fail. They are counted separately.
    pub(crate) fn fail_reads(&self, reads: Range<usize>) {
        let fault = Fault::new(reads, io::ErrorKind::Other);
        self.lock().read_faults.push(fault);
    }

    /// Ends all read failures.
    pub(crate) fn heal_reads(&self) {
        self.lock().read_faults.clear();
    }

    pub(crate) fn bytes_in_use(&self) -> u64 {
        let state = self.lock();
        let Content { names, files } = &state.now;
        let lengths = names.values().map(|&file| files[file].len() as u64);
        lengths.sum()
    }

    /// Another disk with the current files, as the end of the process leaves them.
    pub(crate) fn as_it_is(&self) -> Self {
        Self::with(self.lock().now.clone())
    }

    /// The disk after the process ended at some event: all writes are there, and perhaps part of
    /// the next one.
    pub(crate) fn after_a_kill(&self, at: usize, numbers: &mut Numbers) -> Self {
        let events = self.lock().events.clone();
        let mut state = self.beginning();
        events[..at].iter().for_each(|event| state.apply(event));
        if let Some(Event::Write {
            file,
            offset,
            bytes,
        }) = events.get(at)
        {
            let kept = numbers.below(bytes.len() + 1);
            let bytes = bytes[..kept].to_vec();
            state.apply(&Event::Write {
                file: *file,
                offset: *offset,
                bytes,
            });
        }
        Self::with(state.now)
    }

    /// The disk after a power loss at some event that lost one write and nothing else.
    pub(crate) fn after_the_loss_of(&self, lost: usize, at: usize) -> Self {
        let events = self.lock().events[..at].to_vec();
        assert!(matches!(events[lost], Event::Write { .. }) && !is_durable(&events, lost));
        let mut state = self.beginning();
        let kept = events.iter().enumerate().filter(|(n, _)| *n != lost);
        kept.for_each(|(_, event)| state.apply(event));
        Self::with(state.now)
    }

    /// One of the states that a power loss at some event may leave.
    pub(crate) fn after_a_loss_of_power(&self, at: usize, numbers: &mut Numbers) -> Self {
        let events = self.lock().events[..at].to_vec();
        let mut state = self.beginning();
        let survives_all = numbers.one_in(6);
        let survives_none = !survives_all && numbers.one_in(6);
        let patience = [1, 2, 4][numbers.below(3)];
        for (n, event) in events.iter().enumerate() {
            if is_durable(&events, n) || survives_all {
                state.apply(event);
                continue;
            }
            if survives_none {
                continue;
            }
            match event {
                Event::Write {
                    file,
                    offset,
                    bytes,
                } => {
                    // Each sector separately, so that every mixture occurs.
                    let mut offset = *offset;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let (now, later) = rest.split_at(rest.len().min(SECTOR - offset % SECTOR));
                        if !numbers.one_in(patience + 1) {
                            let bytes = now.to_vec();
                            state.apply(&Event::Write {
                                file: *file,
                                offset,
                                bytes,
                            });
                        }
                        offset += now.len();
                        rest = later;
                    }
                }
                event if !numbers.one_in(patience + 1) => state.apply(event),
                _ => {}
            }
        }
        Self::with(state.now)
    }

    fn with(content: Content) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::with(content))),
        }
    }

    /// The disk before the first event.
    fn beginning(&self) -> State {
        State::with(self.lock().before.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, event: Event) -> io::Result<()> {
        self.lock().change(event)
    }
}

/// Whether an event was followed by the sync it needs.
fn is_durable(events: &[Event], n: usize) -> bool {
    let later = || events[n + 1..].iter();
    match &events[n] {
        Event::Write { file, .. } | Event::Truncate { file, .. } => {
            // After a failed sync, the data it covered may be gone, whatever later syncs report.
            let mut syncs = later().filter_map(|event| match event {
                Event::Sync {
                    file: synced,
                    begun,
                } if synced == file && n < *begun => Some(true),
                Event::SyncFailed { file: synced } if synced == file => Some(false),
                _ => None,
            });
            syncs.next() == Some(true)
        }
        Event::Name { .. } | Event::Rename { .. } | Event::Remove { .. } => {
            later().any(|event| matches!(event, Event::SyncNames))
        }
        Event::Sync { .. } | Event::SyncFailed { .. } | Event::SyncNames => true,
    }
}

impl State {
    fn with(content: Content) -> Self {
        Self {
            now: content.clone(),
            before: content,
            ..Self::default()
        }
    }

    fn change(&mut self, event: Event) -> io::Result<()> {
        let operation = self.operations;
        self.operations += 1;
        if let Some(kind) = fault_at(&self.faults, operation) {
            match event {
                // A failed write may have done half its work.
                Event::Write {
                    file,
                    offset,
                    mut bytes,
                } => {
                    bytes.truncate(bytes.len() / 2);
                    let half = Event::Write {
                        file,
                        offset,
                        bytes,
                    };
                    self.apply(&half);
                    self.events.push(half);
                }
                Event::Sync { file, .. } => self.events.push(Event::SyncFailed { file }),
                _ => {}
            }
            return Err(kind.into());
        }
        self.apply(&event);
        self.events.push(event);
        Ok(())
    }

    fn file(&mut self, file: usize) -> &mut Vec<u8> {
        let files = &mut self.now.files;
        if files.len() <= file {
            files.resize(file + 1, Vec::new());
        }
        &mut files[file]
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Write {
                file,
                offset,
                bytes,
            } => {
                let content = self.file(*file);
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Event::Truncate { file, length } => self.file(*file).resize(*length, 0),
            Event::Name { name, file } => {
                self.file(*file);
                self.now.names.insert(name.clone(), *file);
            }
            Event::Rename { from, to } => {
                if let Some(file) = self.now.names.remove(from) {
                    self.now.names.insert(to.clone(), file);
                }
            }
            Event::Remove { name } => {
                self.now.names.remove(name);
            }
            Event::Sync { .. } | Event::SyncFailed { .. } | Event::SyncNames => {}
        }
    }
}

fn fault_at(faults: &[Fault], operation: usize) -> Option<io::ErrorKind> {
    let fault = faults
        .iter()
        .find(|fault| (fault.from..fault.to).contains(&operation));
    fault.map(|fault| fault.kind)
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        Path::new("nowhere")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let first = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
        Ok(self.lock().now.names.keys().map(first).collect())
    }

    fn is_file(&self, _: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if state.now.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.now.files.len();
        state.change(Event::Name {
            name: name.to_owned(),
            file,
        })?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            file,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = *self
            .lock()
            .now
            .names
            .get(name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Event::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.lock().now.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Event::Remove {
            name: name.to_owned(),
        })
    }

    fn make_directory(&self, _: &str) -> io::Result<()> {
        let mut state = self.lock();
        let operation = state.operations;
        state.operations += 1;
        fault_at(&state.faults, operation).map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        let prefix = format!("{name}/");
        let inside = |inner: &&String| inner.starts_with(&prefix);
        let names: Vec<String> = self
            .lock()
            .now
            .names
            .keys()
            .filter(inside)
            .cloned()
            .collect();
        names
            .into_iter()
            .try_for_each(|name| self.change(Event::Remove { name }))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(Event::SyncNames)
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().file(self.file).len() as u64)
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let read = state.reads;
        state.reads += 1;
        if let Some(kind) = fault_at(&state.read_faults, read) {
            // Half of the data may have been read.
            buffer.clear();
            buffer.resize(length / 2, 0);
            return Err(kind.into());
        }
        let content = state.file(self.file);
        let start = usize::try_from(offset).unwrap().min(content.len());
        let end = start.saturating_add(length).min(content.len());
        buffer.clear();
        buffer.extend(&content[start..end]);
        state.bytes_read += (end - start) as u64;
        Ok(())
    }

    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let offset = usize::try_from(offset).unwrap();
        self.disk.change(Event::Write {
            file: self.file,
            offset,
            bytes,
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.disk.change(Event::Truncate {
            file: self.file,
            length,
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let now = state.events.len();
        let (file, begun) = (self.file, state.sync_begun.take().unwrap_or(now));
        state.change(Event::Sync { file, begun })
    }
}
