//! A store in one file, either correct or with one flaw.
//!
//! It shows that the simulation accepts correct behaviour and notices flaws.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use record_cache::{
    Amount, NewRecord, QueueStats, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
};
use serde::{Deserialize, Serialize};

const LOG: &str = "log";
const NEW_LOG: &str = "log.new";
/// A longer log is rewritten after a settlement.
const LONG: u64 = 64 * 1024;

/// The flaw of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flaw {
    None,
    /// Appends are not synced.
    NeverSyncs,
    /// A replacement log is synced, but its directory is not.
    ForgetsTheNewName,
    /// A replacement log is not synced, but its directory is.
    ForgetsTheNewLog,
    /// The log is truncated and rewritten in place.
    RewritesInPlace,
    /// The directory and its log are created but never synced.
    ForgetsTheFirstName,
    /// There are no checksums.
    TrustsWhatItReads,
}

#[derive(Debug)]
pub struct TinyStore {
    place: PathBuf,
    flaw: Flaw,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: File,
    length: u64,
    queues: BTreeMap<StreamName, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    records: BTreeMap<u64, Record>,
}

/// A log entry, which takes effect whole or not at all.
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

const APPEND: u8 = 1;
const SETTLE: u8 = 2;
const CLEAR: u8 = 3;
const BEGIN: u8 = 4;

impl TinyStore {
    pub fn open(place: &Path, flaw: Flaw) -> Result<Self, StoreError> {
        let open = || -> io::Result<Self> {
            fs::create_dir_all(place)?;
            let mut options = OpenOptions::new();
            let mut log = options
                .read(true)
                .append(true)
                .create(true)
                .open(place.join(LOG))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            let mut queues = BTreeMap::new();
            let length = replay(&bytes, flaw, &mut queues) as u64;
            log.set_len(length)?;
            log.sync_all()?;
            let store = Self {
                place: place.to_owned(),
                flaw,
                inner: Mutex::new(Inner {
                    log,
                    length,
                    queues,
                }),
            };
            if flaw != Flaw::ForgetsTheFirstName {
                sync_directory(place)?;
                sync_directory(place.parent().unwrap())?;
            }
            Ok(store)
        };
        open().map_err(|error| StoreError::unavailable("open", error))
    }

    fn change(&self, inner: &mut Inner, entry: Entry) -> Result<(), StoreError> {
        let framed = entry.framed(self.flaw);
        let mut write = || -> io::Result<()> {
            inner.log.write_all(&framed)?;
            if self.flaw != Flaw::NeverSyncs {
                inner.log.sync_data()?;
            }
            Ok(())
        };
        write().map_err(|error| StoreError::unavailable("write", error))?;
        inner.length += framed.len() as u64;
        apply(&entry.0, &mut inner.queues).unwrap();
        Ok(())
    }

    fn tidy(&self, inner: &mut Inner) -> Result<(), StoreError> {
        let mut rewrite = || -> io::Result<()> {
            let old = self.place.join(LOG);
            let new = match self.flaw {
                Flaw::RewritesInPlace => old.clone(),
                _ => self.place.join(NEW_LOG),
            };
            let mut log = File::create(&new)?;
            inner.length = 0;
            for (stream, queue) in &inner.queues {
                let mut begin = Entry::of(BEGIN);
                begin.text(stream.as_str()).number(queue.next);
                let mut append = Entry::of(APPEND);
                for record in queue.records.values() {
                    append.record(stream, record);
                }
                for entry in [begin, append] {
                    let framed = entry.framed(self.flaw);
                    log.write_all(&framed)?;
                    inner.length += framed.len() as u64;
                }
            }
            if self.flaw != Flaw::ForgetsTheNewLog {
                log.sync_all()?;
            }
            fs::rename(new, &old)?;
            if self.flaw != Flaw::ForgetsTheNewName {
                sync_directory(&self.place)?;
            }
            inner.log = OpenOptions::new().append(true).open(old)?;
            Ok(())
        };
        rewrite().map_err(|error| StoreError::unavailable("tidy", error))
    }
}

#[async_trait]
impl RecordStore for TinyStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().unwrap();
        let mut entry = Entry::of(APPEND);
        let mut next: BTreeMap<StreamName, u64> = BTreeMap::new();
        for record in records {
            let known = inner.queues.get(&record.stream);
            let id = next
                .entry(record.stream.clone())
                .or_insert(known.map_or(0, |queue| queue.next));
            let place = RecordId::new(*id);
            *id += 1;
            let NewRecord {
                stream, key, data, ..
            } = record;
            entry.record(
                &stream,
                &Record::new(place, key, data, 0, SystemTime::UNIX_EPOCH),
            );
        }
        self.change(&mut inner, entry)
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let inner = self.inner.lock().unwrap();
        let from = after.map_or(0, |id| id.get() + 1);
        let mut bytes = 0;
        let mut records = Vec::new();
        let held = inner
            .queues
            .get(stream)
            .into_iter()
            .flat_map(|queue| queue.records.range(from..));
        for (_, record) in held.take(limits.max_records.get()) {
            bytes += record.size();
            if bytes > limits.max_bytes.get() && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        Ok(ReadBatch::new(records, Amount::default()))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        let mut entry = Entry::of(SETTLE);
        entry.text(settlement.stream.as_str());
        for ids in [&settlement.delete, &settlement.count_attempt] {
            entry.number(ids.len() as u64);
            for id in ids {
                entry.number(id.get());
            }
        }
        let before = removed(&inner.queues);
        self.change(&mut inner, entry)?;
        let after = removed(&inner.queues);
        if inner.length > LONG {
            self.tidy(&mut inner)?;
        }
        Ok(Amount::new(
            before.records - after.records,
            before.bytes - after.bytes,
        ))
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        let before = removed(&inner.queues);
        self.change(&mut inner, Entry::of(CLEAR))?;
        self.tidy(&mut inner)?;
        Ok(before)
    }

    fn stats(&self) -> StoreStats {
        let inner = self.inner.lock().unwrap();
        let streams = inner
            .queues
            .iter()
            .filter(|(_, queue)| !queue.records.is_empty());
        let streams = streams.map(|(name, queue)| {
            let bytes = queue.records.values().map(Record::size).sum();
            (name.clone(), QueueStats::new(queue.records.len(), bytes))
        });
        StoreStats::new(streams.collect(), 0)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Entry {
    fn of(kind: u8) -> Self {
        Self(vec![kind])
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).0.extend(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn record(&mut self, stream: &StreamName, record: &Record) {
        self.text(stream.as_str()).number(record.id.get());
        self.number(u64::from(record.attempts));
        self.text(record.key.as_deref().unwrap_or(""));
        self.bytes(&record.data);
    }

    fn framed(&self, flaw: Flaw) -> Vec<u8> {
        let mut framed = Self::default();
        framed.number(checksum(&self.0, flaw)).bytes(&self.0);
        framed.0
    }
}

/// The unread rest of an entry.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn stream(&mut self) -> Option<StreamName> {
        StreamName::new(self.text()?).ok()
    }
}

/// Replays the log and returns the length of its intact part.
fn replay(log: &[u8], flaw: Flaw, queues: &mut BTreeMap<StreamName, Queue>) -> usize {
    let mut rest = Rest(log);
    let mut good = 0;
    while let Some((expected, entry)) = rest.number().zip(rest.bytes()) {
        if checksum(entry, flaw) != expected || apply(entry, queues).is_none() {
            break;
        }
        good = log.len() - rest.0.len();
    }
    good
}

fn apply(entry: &[u8], queues: &mut BTreeMap<StreamName, Queue>) -> Option<()> {
    let (kind, rest) = entry.split_first()?;
    let mut rest = Rest(rest);
    match *kind {
        APPEND => {
            while !rest.0.is_empty() {
                let queue = queues.entry(rest.stream()?).or_default();
                let (id, attempts) = (rest.number()?, rest.number()?);
                let key = Some(rest.text()?.to_owned()).filter(|key| !key.is_empty());
                let data = rest.bytes()?.to_vec();
                let attempts = u32::try_from(attempts).ok()?;
                let place = RecordId::new(id);
                let record = Record::new(place, key, data.into(), attempts, SystemTime::UNIX_EPOCH);
                queue.records.insert(id, record);
                queue.next = queue.next.max(id + 1);
            }
        }
        SETTLE => {
            let queue = queues.entry(rest.stream()?).or_default();
            for _ in 0..rest.number()? {
                queue.records.remove(&rest.number()?);
            }
            for _ in 0..rest.number()? {
                if let Some(record) = queue.records.get_mut(&rest.number()?) {
                    record.attempts += 1;
                }
            }
        }
        CLEAR => queues.values_mut().for_each(|queue| queue.records.clear()),
        BEGIN => {
            let queue = queues.entry(rest.stream()?).or_default();
            queue.next = rest.number()?;
        }
        _ => return None,
    }
    Some(())
}

fn checksum(bytes: &[u8], flaw: Flaw) -> u64 {
    if flaw == Flaw::TrustsWhatItReads {
        return 7;
    }
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn removed(queues: &BTreeMap<StreamName, Queue>) -> Amount {
    let records = queues.values().flat_map(|queue| queue.records.values());
    let mut all = Amount::default();
    records.for_each(|record| all += Amount::new(1, record.size()));
    all
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
