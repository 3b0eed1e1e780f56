//! Directories for several instances of one program, side by side.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{
    Durability, NewRecord, ReadLimits, Record, RecordStore, Removed, Settlement, SledStore,
    StoreError, StreamName,
};

use crate::inner::Inner;
use crate::{InvalidSetting, trace};

/// Instances of one program on one machine that are looked for at most.
const MAX_SLOTS: u32 = 256;

/// A directory of slots: each instance takes a free one, and takes over the records of
/// those that nobody holds.
#[derive(Debug, Clone)]
pub struct Slots {
    directory: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
    own: Option<u32>,
}

pub(crate) async fn open_sled(
    path: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
) -> Result<SledStore, StoreError> {
    SledStore::builder(path)
        .durability(durability)
        .expected_bytes(cache_max_bytes)
        .open()
        .await
}

impl Slots {
    /// The directory `name` of this program, below the platform's local data directory.
    pub(crate) fn of_this_program(
        name: &str,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<Self, InvalidSetting> {
        let unknown = |what: &str| {
            InvalidSetting::new(
                "storage_path",
                format!("there is no default, because {what} is not known"),
                "set storage_path, or call in_memory",
            )
        };
        let data = dirs::data_local_dir().ok_or_else(|| unknown("the local data directory"))?;
        let program = std::env::current_exe().ok();
        let program = program.as_ref().and_then(|path| path.file_stem());
        let program = program.ok_or_else(|| unknown("the name of the executable"))?;
        Ok(Self::below(
            data.join(program).join(name),
            durability,
            cache_max_bytes,
        ))
    }

    pub(crate) fn below(directory: PathBuf, durability: Durability, cache_max_bytes: u64) -> Self {
        Self {
            directory,
            durability,
            cache_max_bytes,
            own: None,
        }
    }

    /// Opens the first slot that nobody holds, so that a lone instance finds its own records.
    pub(crate) async fn take_free_one(self) -> Result<(Self, SledStore), StoreError> {
        for slot in 0..MAX_SLOTS {
            match self.open(slot).await {
                Ok(store) => {
                    return Ok((
                        Self {
                            own: Some(slot),
                            ..self
                        },
                        store,
                    ));
                }
                Err(StoreError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::in_use(self.directory))
    }

    async fn open(&self, slot: u32) -> Result<SledStore, StoreError> {
        open_sled(self.path(slot), self.durability, self.cache_max_bytes).await
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.directory.join(format!("slot-{slot}"))
    }

    /// Moves the records of all slots that nobody holds into the engine's own store, as far
    /// as there is room.
    pub(crate) async fn adopt(&self, inner: &Inner) {
        for slot in (0..MAX_SLOTS).filter(|&slot| Some(slot) != self.own) {
            if inner.closing.is_cancelled() {
                return;
            }
            // A slot that was never used is not to be made now.
            if !self.path(slot).is_dir() {
                continue;
            }
            match self.open(slot).await {
                Ok(orphan) => {
                    if let Err(error) = empty(&orphan, inner).await {
                        tracing::warn!(
                            target: trace::TARGET,
                            slot,
                            %error,
                            "the records of another instance could not be adopted"
                        );
                    }
                    // What is left is on disk already; the next one to open it will say.
                    let _ = orphan.close().await;
                }
                Err(StoreError::InUse { .. }) => {}
                Err(error) => tracing::warn!(
                    target: trace::TARGET,
                    slot,
                    %error,
                    "the records of another instance could not be opened"
                ),
            }
        }
    }
}

/// Moves all records of a store, oldest first, as far as there is room. A crash between the
/// two steps of a move leaves records in both stores: they are delivered twice, never lost.
async fn empty(orphan: &SledStore, inner: &Inner) -> Result<(), StoreError> {
    const STEP: ReadLimits = ReadLimits::new(
        NonZeroUsize::new(256).expect("not zero"),
        NonZeroU64::new(256 * 1024).expect("not zero"),
    );
    let mut adopted = Removed::default();
    for stream in orphan.stats().streams.into_keys() {
        loop {
            let read = orphan.oldest(&stream, None, STEP).await?;
            trace::damage(&stream, read.damaged);
            let records = read.records;
            if records.is_empty() || inner.closing.is_cancelled() {
                break;
            }
            let room = Removed::new(records.len(), records.iter().map(Record::size).sum());
            if inner.admission.reserve(room).is_err() {
                break;
            }
            adopt_step(orphan, inner, &stream, records, room).await?;
            adopted += room;
        }
    }
    if adopted.records > 0 {
        tracing::info!(
            target: trace::TARGET,
            records = adopted.records,
            bytes = adopted.bytes,
            "adopted the records of an instance that has ended"
        );
    }
    Ok(())
}

async fn adopt_step(
    orphan: &SledStore,
    inner: &Inner,
    stream: &StreamName,
    records: Vec<Record>,
    room: Removed,
) -> Result<(), StoreError> {
    let moved = Settlement::new(stream.clone()).delete(records.iter().map(|record| record.id));
    let records = records
        .into_iter()
        .map(|record| NewRecord::moved(stream.clone(), record));
    if let Err(error) = inner.store.append(records.collect()).await {
        inner.admission.release(room);
        return Err(error);
    }
    orphan.settle(moved).await?;
    Ok(())
}

/// Adopts at once, and again after passes, but not more often than once a minute: other
/// instances end at any time, and passes make room.
pub(crate) async fn adopt_while_open(slots: Slots, inner: Arc<Inner>) {
    const LEAST_WAIT: std::time::Duration = std::time::Duration::from_secs(60);
    let mut pass_ended = inner.pass_ended.subscribe();
    loop {
        slots.adopt(&inner).await;
        tokio::select! {
            () = inner.closing.cancelled() => return,
            () = tokio::time::sleep(LEAST_WAIT) => {}
        }
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = pass_ended.changed() => {}
        }
    }
}
