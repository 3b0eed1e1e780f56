//! One sled database and everything that keeps its promises.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::barrier::write_through;
use super::codec::Codec;
use super::fault::{Fault, Outcome, contained};
use super::home::{
    GenerationId, Home, absent_is_fine, entry_names, make_private, private_directory, private_file,
    sync_directory,
};
use super::keys;
use super::notes::Notes;
use super::segment::SegmentSize;
use super::space;
use crate::Durability;

const DATABASE: &str = "db";
const CONFIGURATION: &str = "conf";
const BLOBS: &str = "blobs";
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SNAPSHOT_SUFFIX: &str = ".generating";

/// sled holds a good deal more, whatever it is told; see `VALUE_BYTES`.
const PAGE_CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// From so many payloads on it pays to make places for them.
const MANY: usize = 32;

/// sled's own threads let go of the file a moment after the last handle is dropped.
const RELEASE_TRIES: u32 = 2_000;
const RELEASE_PAUSE: Duration = Duration::from_millis(1);

/// Changes that are to be made in one step.
#[derive(Debug, Default)]
pub(super) struct Changes {
    list: Vec<(sled::IVec, Option<sled::IVec>)>,
}

impl Changes {
    pub(super) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.list.push((key.into(), Some(value.into())));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.list.push((key.into(), None));
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Generation {
    id: GenerationId,
    path: PathBuf,
    segment: SegmentSize,
    durability: Durability,
    codec: Codec,
    database: sled::Db,
    file: File,
    /// Whether what sled writes is on stable storage before sled goes on.
    writes_through: bool,
}

impl Generation {
    /// Makes a new, empty one; nothing refers to it yet.
    pub(super) fn create(
        home: &Home,
        id: GenerationId,
        segment: SegmentSize,
        durability: Durability,
    ) -> Outcome<Self> {
        let prepare = || {
            let path = home.create_generation(id)?;
            // Made before sled would, so that nobody else may read them.
            for name in [DATABASE, CONFIGURATION] {
                let mut options = OpenOptions::new();
                private_file(&path.join(name), options.write(true).create_new(true))?;
            }
            Notes::create(&path)?;
            private_directory().create(path.join(BLOBS))
        };
        prepare().map_err(|error| Fault::io("cannot create files", home.path(), error))?;
        let generation = Self::open(home, id, segment, durability)?;
        generation.flush()?;
        generation.sync_all()?;
        Ok(generation)
    }

    pub(super) fn open(
        home: &Home,
        id: GenerationId,
        segment: SegmentSize,
        durability: Durability,
    ) -> Outcome<Self> {
        let path = home.generation_path(id);
        let refused = |error| Fault::io("cannot open the database", &path, error);
        let file = match File::options()
            .read(true)
            .write(true)
            .open(path.join(DATABASE))
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Fault::Damaged("the database is missing".to_owned()));
            }
            other => other.map_err(refused)?,
        };
        let strict = durability == Durability::PowerLoss;
        if strict {
            // sled overwrites what it takes for superseded as it opens, which must not hang
            // on anything that only the operating system has.
            file.sync_all().map_err(refused)?;
            // It also renames a snapshot, and then fills with zeros what the log alone could
            // not be read without: the name has to be durable first.
            let directory = File::open(&path).map_err(refused)?;
            write_through(&directory, true);
        }
        write_through(&file, false);
        will_be_read(&file);
        remove_snapshots(&path, |name| name.ends_with(UNFINISHED_SNAPSHOT_SUFFIX))
            .map_err(refused)?;
        let database = open_database(&path, segment)?;
        let secure = || {
            for name in entry_names(&path)?.iter().filter(|name| *name != BLOBS) {
                make_private(&path.join(name))?;
            }
            if !strict {
                return Ok(false);
            }
            let writes_through = write_through(&file, true);
            // Where the directory does not take the attribute, as soon as can be.
            sync_directory(&path)?;
            file.sync_all()?;
            Ok(writes_through)
        };
        let writes_through = secure().map_err(refused)?;
        Ok(Self {
            id,
            segment,
            durability,
            codec: Codec::new(id.salt),
            database,
            file,
            writes_through,
            path,
        })
    }

    /// Deletes what sled can make again from the log alone, only slower.
    pub(super) fn reduce_to_log(home: &Home, id: GenerationId) -> io::Result<()> {
        let path = home.generation_path(id);
        remove_snapshots(&path, |_| true)?;
        absent_is_fine(fs::remove_file(path.join(CONFIGURATION)))?;
        let mut options = OpenOptions::new();
        private_file(&path.join(CONFIGURATION), options.write(true).create(true)).map(drop)
    }

    pub(super) const fn id(&self) -> GenerationId {
        self.id
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn segment(&self) -> SegmentSize {
        self.segment
    }

    pub(super) const fn codec(&self) -> &Codec {
        &self.codec
    }

    pub(super) const fn tree(&self) -> &sled::Db {
        &self.database
    }

    /// Has sled let go of leaves that were read before, in a large cache.
    ///
    /// Each of the 256 parts of sled's page cache looks at its size only after every 64th
    /// access, so that thousands of leaves of about 100 KiB are read before any goes. An access
    /// for each payload, instead of one for each leaf, brings that down to a tenth.
    pub(super) fn age(&self, key: &[u8]) -> Outcome<()> {
        if self.segment == SegmentSize::Large {
            self.database.contains_key(key)?;
        }
        Ok(())
    }

    /// Makes places for payloads, if there are many, which come with the next changes.
    ///
    /// sled splits a leaf that has more than 16 values, and writes all of them again. When
    /// they are still empty that is little; so each payload is written once, not three times.
    /// Empty places that nothing came to are removed at the next opening.
    pub(super) fn make_places(&self, changes: &Changes) -> Outcome<()> {
        let keys = || {
            let payloads = |(key, value): &(sled::IVec, Option<sled::IVec>)| {
                let is_new = value.is_some() && key.first() == Some(&keys::PAYLOADS);
                is_new.then(|| key.clone())
            };
            changes.list.iter().filter_map(payloads)
        };
        if keys().count() < MANY {
            return Ok(());
        }
        let mut keys: Vec<sled::IVec> = keys().collect();
        keys.sort_unstable();
        for key in keys {
            self.database.insert(key, sled::IVec::default())?;
        }
        Ok(())
    }

    /// Makes all changes or none of them, in memory.
    pub(super) fn apply(&self, changes: Changes) -> Outcome<()> {
        let Changes { mut list } = changes;
        match list.pop() {
            None => {}
            Some((key, Some(value))) if list.is_empty() => {
                self.database.insert(key, value)?;
            }
            Some(last) => {
                let mut batch = sled::Batch::default();
                for (key, value) in list.into_iter().chain([last]) {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                self.database.apply_batch(batch)?;
            }
        }
        Ok(())
    }

    /// Hands everything to the operating system: the end of the process is survived.
    pub(super) fn flush(&self) -> Outcome<()> {
        self.database.flush()?;
        Ok(())
    }

    /// Makes what was applied survive what it has to survive.
    pub(super) fn commit(&self) -> Outcome<()> {
        self.flush()?;
        if self.durability == Durability::PowerLoss && !self.writes_through {
            // Nor must sled get ahead of the device with what need not survive.
            self.sync_data()?;
        }
        Ok(())
    }

    /// Waits until what was flushed is on stable storage.
    pub(super) fn sync_data(&self) -> Outcome<()> {
        self.file
            .sync_data()
            .map_err(|error| Fault::io("cannot sync", &self.path, error))
    }

    /// Makes the files themselves durable, and their names.
    pub(super) fn sync_all(&self) -> Outcome<()> {
        let sync = || {
            self.file.sync_all()?;
            File::open(self.path.join(CONFIGURATION))?.sync_all()?;
            sync_directory(&self.path.join(BLOBS))?;
            sync_directory(&self.path)
        };
        sync().map_err(|error| Fault::io("cannot sync", &self.path, error))
    }

    pub(super) fn allocated(&self) -> u64 {
        space::allocated(&self.file)
    }

    /// Whether sled put a value into a file of its own, which must never happen.
    pub(super) fn has_blobs(&self) -> bool {
        entry_names(&self.path.join(BLOBS)).is_ok_and(|names| !names.is_empty())
    }

    /// Lets go of the files, and waits until sled has.
    pub(super) fn release(self) {
        let Self { database, file, .. } = self;
        // Dropping the last handle syncs the file and panics if that fails. Whoever
        // needs to know has synced before.
        let _ = contained(|| {
            drop(database);
            Ok(())
        });
        for _ in 0..RELEASE_TRIES {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => pause(),
                _ => return,
            }
        }
    }
}

/// The file with the data of a generation that is not open.
pub(super) fn database_file(home: &Home, id: GenerationId) -> PathBuf {
    home.generation_path(id).join(DATABASE)
}

/// sled reads its log a little at a time.
fn will_be_read(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

fn open_database(path: &Path, segment: SegmentSize) -> Outcome<sled::Db> {
    let configuration = sled::Config::new()
        .path(path)
        .segment_size(segment.bytes())
        .cache_capacity(PAGE_CACHE_BYTES)
        .flush_every_ms(None);
    let mut tries = 0;
    loop {
        let opened = contained(|| match configuration.open() {
            Ok(database) => Ok(Some(database)),
            Err(error) if is_held(&error) && tries < RELEASE_TRIES => Ok(None),
            Err(sled::Error::Io(error)) => Err(Fault::io("cannot open the database", path, error)),
            Err(error) => Err(Fault::from(error)),
        })?;
        if let Some(database) = opened {
            return Ok(database);
        }
        tries += 1;
        pause();
    }
}

/// Whether a handle of this process that is being dropped still holds the file: no
/// other process can, because it would hold the whole directory.
fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error)
        if error.kind() == io::ErrorKind::Other && error.to_string().contains("acquire lock"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the store's own thread, and no runtime's"
)]
fn pause() {
    thread::sleep(RELEASE_PAUSE);
}

fn remove_snapshots(path: &Path, which: impl Fn(&str) -> bool) -> io::Result<()> {
    for name in entry_names(path)? {
        if name.starts_with(SNAPSHOT_PREFIX) && which(&name) {
            absent_is_fine(fs::remove_file(path.join(name)))?;
        }
    }
    Ok(())
}
