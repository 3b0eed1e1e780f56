//! Inspects the directory of a store, whether or not it is in use.
//!
//! [`Inspection::read`] reads the log of a `SledStore` or `JournalStore` as it is at that moment.
//! It takes no lock and changes nothing: no file is created, moved, truncated or set aside, and no
//! mode is repaired. So it works next to a running client, on a copy of a directory, and on a
//! read-only file system.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use record_cache::inspect::Inspection;
//! use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
//!
//! let directory = tempfile::tempdir()?;
//! let store = JournalStore::open(directory.path()).await?;
//! let stream = StreamName::new("orders")?;
//! store.append(vec![NewRecord::new(stream, None, "an order")]).await?;
//!
//! let inspection = Inspection::read(directory.path())?;
//! assert_eq!(inspection.stats().records(), 1);
//! store.close().await?;
//! # Ok(())
//! # }
//! ```

mod disk;
mod survey;

use std::io;
use std::path::{Path, PathBuf};

use self::disk::ReadOnlyDisk;
use self::survey::{Survey, survey};
use crate::index::Entry;
use crate::log::Failure;
use crate::log::buffers::Buffers;
use crate::log::directory::is_own;
use crate::log::fetch::{Fetched, fetch, sources};
use crate::log::files::Disk;
use crate::log::format::{COPY_PREFIX, LOCK};
use crate::{Amount, ReadBatch, ReadLimits, RecordId, StoreError, StoreStats, StreamName};

/// How often to retry when a running store deletes a segment between its listing and opening.
const ATTEMPTS: usize = 20;
const SLOT_PREFIX: &str = "slot-";

/// The contents of a directory at one moment.
///
/// The files are kept open, so their contents stay readable even if a running store deletes them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::inspect::Inspection;
/// # use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let orders = StreamName::new("orders")?;
/// # let store = JournalStore::open(directory).await?;
/// # store.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
/// # store.close().await?;
/// let inspection = Inspection::read(directory)?;
/// println!("{}:", inspection.path().display());
/// for (stream, queue) in inspection.stats().streams {
///     println!("{stream}: {} records, {} bytes", queue.records, queue.bytes);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Inspection {
    path: PathBuf,
    survey: Survey,
    condition: Condition,
}

/// The condition of a directory.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::inspect::Inspection;
/// # use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let orders = StreamName::new("orders")?;
/// # let store = JournalStore::open(directory).await?;
/// # store.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
/// # store.close().await?;
/// let inspection = Inspection::read(directory)?;
/// let condition = inspection.condition();
/// if condition.missing_records > 0 || condition.damaged_places > 0 {
///     println!("damaged: {} records are missing", condition.missing_records);
/// }
/// assert!(condition.is_closed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// Whether nothing was written since the store was closed, or since it was created. A store
    /// that is open again, but has written nothing yet, looks the same. If something was written,
    /// either the store is open or its program ended without closing it. Only taking the lock could
    /// tell which.
    pub is_closed: bool,
    /// Whether the log ends in an incomplete write: either still under way, or torn by the end of
    /// the process. This is not damage; the call was never answered.
    pub is_torn: bool,
    /// The number of segments in the log.
    pub segments: usize,
    /// The total size of the log's files in bytes.
    pub disk_bytes: u64,
    /// Records that should be there but are missing.
    pub missing_records: u64,
    /// How many places in the log hold something unexpected.
    pub damaged_places: u64,
    /// Segments that are wholly unreadable. The next open sets them aside.
    pub unreadable_segments: usize,
    /// Directories of damaged data that earlier opens set aside.
    pub set_aside: Vec<String>,
}

impl Inspection {
    /// Reads the log in this directory. Payloads are read and checked only by
    /// [`oldest`](Self::oldest).
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] when the directory has no log, or one of another version, and
    /// [`StoreError::Unavailable`] when it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|error| StoreError::unavailable("cannot resolve the path", error))?;
        let disk = ReadOnlyDisk::new(path.clone());
        if !is_cache(&disk).map_err(|error| in_words(&path, Failure::Disk(error)))? {
            return Err(StoreError::incompatible(&path, "no record cache"));
        }
        let mut attempts = 0..ATTEMPTS;
        let survey = loop {
            match survey(&disk) {
                Err(failure) if is_gone(&failure) && attempts.next().is_some() => {}
                found => break found.map_err(|failure| in_words(&path, failure))?,
            }
        };
        let condition =
            condition(&disk, &survey).map_err(|error| in_words(&path, Failure::Disk(error)))?;
        Ok(Self {
            path,
            survey,
            condition,
        })
    }

    /// The inspected directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the store holds, by stream.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.survey.counters.stats()
    }

    /// The condition of the directory.
    #[must_use]
    pub const fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Reads the oldest records of a stream, or the oldest after `after`, as
    /// [`RecordStore::oldest`](crate::RecordStore::oldest) does. Damaged records are counted.
    ///
    /// A stream is exhausted once a call returns neither records nor damage.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::inspect::Inspection;
    /// # use record_cache::{JournalStore, NewRecord, ReadLimits, RecordStore, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// # let orders = StreamName::new("orders")?;
    /// # let store = JournalStore::open(directory).await?;
    /// # store.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
    /// # store.close().await?;
    /// let mut inspection = Inspection::read(directory)?;
    /// let limits = ReadLimits::new(NonZeroUsize::MIN.saturating_add(99), NonZeroU64::MAX);
    /// let mut after = None;
    /// loop {
    ///     let portion = inspection.oldest(&orders, after, limits)?;
    ///     for record in &portion.batch.records {
    ///         println!("{:?}: {:?}", record.recorded_at, record.data);
    ///     }
    ///     let Some(last) = portion.last else { break };
    ///     after = Some(last);
    /// }
    /// # assert!(after.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a file cannot be read.
    pub fn oldest(
        &mut self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<Portion, StoreError> {
        let failed = |failure: Failure| in_words(&self.path, failure);
        let catalog = &mut self.survey.catalog;
        let entries = catalog
            .ask(|index| index.after(stream, after.map(RecordId::get), limits))
            .map_err(|broken| failed(broken.into()))?;
        let last = entries.last().map(|entry| RecordId::new(entry.sequence));
        let sources = sources(catalog, &entries);
        let wanted: Vec<_> = entries.into_iter().map(|entry| (stream, entry)).collect();
        let (mut records, mut damaged) = (Vec::new(), Amount::default());
        let take = |(_, entry): &(_, Entry), found: Option<Fetched>| {
            let record = found.and_then(|found| found.into_record(entry.attempts));
            match record {
                Some(record) => records.push(record),
                None => damaged += Amount::new(1, entry.size.into()),
            }
        };
        fetch(&wanted, &sources, &Buffers::default(), take)
            .map_err(|error| failed(error.into()))?;
        Ok(Portion {
            batch: ReadBatch::new(records, damaged),
            last,
        })
    }
}

/// Some records, and where they end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use record_cache::inspect::Inspection;
/// # use record_cache::{JournalStore, NewRecord, ReadLimits, RecordStore, StreamName};
/// # use std::num::{NonZeroU64, NonZeroUsize};
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let orders = StreamName::new("orders")?;
/// # let store = JournalStore::open(directory).await?;
/// # store.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
/// # store.close().await?;
/// # let mut inspection = Inspection::read(directory)?;
/// # let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
/// let portion = inspection.oldest(&orders, None, limits)?;
/// println!("{} records", portion.batch.records.len());
/// println!("{} damaged", portion.batch.damaged.records);
/// let rest = inspection.oldest(&orders, portion.last, limits)?;
/// assert_eq!(rest.last, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Portion {
    /// The intact records, and the number of damaged ones.
    pub batch: ReadBatch,
    /// The last record examined, after which to continue. `None` at the end of the stream.
    pub last: Option<RecordId>,
}

/// The store directories at this path: the path itself, or the slots of a client's default
/// directory. Slots in which no store was ever opened are left out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::inspect::{Inspection, directories};
/// # use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let orders = StreamName::new("orders")?;
/// # let store = JournalStore::open(directory.join("slot-0")).await?;
/// # store.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
/// # store.close().await?;
/// // The default directory of a client, with a directory for each instance.
/// for directory in directories(directory)? {
///     let records = Inspection::read(&directory)?.stats().records();
///     println!("{}: {records} records", directory.display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`StoreError::Unavailable`] when the path cannot be read, and [`StoreError::Incompatible`] when
/// it holds neither.
pub fn directories(path: impl AsRef<Path>) -> Result<Vec<PathBuf>, StoreError> {
    let path = path.as_ref();
    let failed = |error| in_words(path, Failure::Disk(error));
    let disk = ReadOnlyDisk::new(path.to_owned());
    if is_cache(&disk).map_err(failed)? {
        return Ok(vec![path.to_owned()]);
    }
    let slot = |name: &String| {
        let number = name.strip_prefix(SLOT_PREFIX)?.parse::<u32>().ok()?;
        let path = path.join(name);
        is_cache(&ReadOnlyDisk::new(path.clone()))
            .is_ok_and(|is_cache| is_cache)
            .then_some((number, path))
    };
    let names = disk.names().map_err(failed)?;
    let mut slots: Vec<_> = names.iter().filter_map(slot).collect();
    slots.sort_unstable();
    if slots.is_empty() {
        return Err(StoreError::incompatible(path, "no record cache"));
    }
    Ok(slots.into_iter().map(|(_, path)| path).collect())
}

/// Whether a store was ever opened here. Other directories may also contain a file named `lock`.
fn is_cache(disk: &ReadOnlyDisk) -> io::Result<bool> {
    let names = disk.names()?;
    Ok(names.iter().any(|name| is_own(name) && name != LOCK))
}

fn condition(disk: &ReadOnlyDisk, survey: &Survey) -> io::Result<Condition> {
    let names = disk.names()?;
    let of_log = names.iter().filter(|name| is_own(name));
    let bytes = of_log.filter_map(|name| disk.open(name).ok()?.length().ok());
    let disk_bytes = bytes.sum();
    let set_aside = names
        .into_iter()
        .filter(|name| name.starts_with(COPY_PREFIX));
    Ok(Condition {
        is_closed: survey.is_closed,
        is_torn: survey.is_torn,
        segments: survey.segments,
        disk_bytes,
        missing_records: survey.missing,
        damaged_places: survey.damaged_places,
        unreadable_segments: survey.unreadable,
        set_aside: set_aside.collect(),
    })
}

/// Whether a file was deleted after its name was read.
fn is_gone(failure: &Failure) -> bool {
    let of = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match failure {
        Failure::Disk(error) => of(error),
        Failure::Store(StoreError::Unavailable { source, .. }) => source
            .as_deref()
            .and_then(|source| source.downcast_ref())
            .is_some_and(of),
        _ => false,
    }
}

fn in_words(path: &Path, failure: Failure) -> StoreError {
    let context = || format!("cannot read: path={}", path.display());
    match failure {
        Failure::Store(error) => error,
        Failure::Disk(error) => StoreError::unavailable(context(), error),
        Failure::Index(broken) => StoreError::unavailable(context(), broken.0),
    }
}
