//! Directories for several instances of one program.
//!
//! An adoption may be interrupted, by a kill or by lack of room. The head of a stream is then in
//! the heir's slot and the rest in the old one. A claim says which slot goes first.

mod claims;
#[cfg(test)]
mod tests;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{
    Amount, Durability, NewRecord, ReadLimits, Record, RecordStore, Settlement, StoreError,
    StreamName, check_directory, holds_nothing,
};

use crate::cache::{Adopted, Cache, Incoming};
use crate::lifecycle::Lifecycle;
use crate::storage::default_directory::Claim;
use crate::storage::on_disk::OnDisk;
use crate::telemetry::log;

/// How many instances of one program on one machine are looked for.
const MAX_SLOTS: u32 = 256;

/// The levels of the default directory that are ours: one for the name, one for the records.
const OWN_LEVELS: usize = 2;

/// A directory of slots. Each instance takes a free slot, and adopts the records in other free
/// slots.
///
/// ```
/// use flush_engine::{EngineError, EngineOptions, FlushEngine, OpenStorage, RecordSender};
/// use std::sync::Arc;
///
/// fn start(storage: OpenStorage, sender: Arc<dyn RecordSender>) -> Result<FlushEngine, EngineError> {
///     let engine = FlushEngine::start(storage.store, sender, EngineOptions::DEFAULT)?;
///     // Records that a crashed instance left are delivered by this one.
///     if let Some(slots) = storage.slots {
///         engine.adopt_from(slots);
///     }
///     Ok(engine)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Slots {
    kind: OnDisk,
    directory: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
    own: Option<u32>,
    /// Keeps other clients of this process out of the directory.
    _claim: Option<Arc<Claim>>,
    #[cfg(test)]
    before_opening: tests::Hook,
}

impl Slots {
    pub(crate) fn below(
        kind: OnDisk,
        directory: PathBuf,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Self {
        Self {
            kind,
            directory,
            durability,
            cache_max_bytes,
            own: None,
            _claim: None,
            #[cfg(test)]
            before_opening: tests::Hook::default(),
        }
    }

    pub(super) fn with(self, claim: Claim) -> Self {
        Self {
            _claim: Some(Arc::new(claim)),
            ..self
        }
    }

    /// Opens the first free slot, so a lone instance finds its own records.
    pub(crate) async fn take_free_one(self) -> Result<(Self, Arc<dyn RecordStore>), StoreError> {
        // Anyone who can rename slots can replace them.
        for directory in self.directory.ancestors().take(OWN_LEVELS) {
            check_directory(directory)?;
        }
        for slot in 0..MAX_SLOTS {
            match self.open(slot).await {
                Ok(free) => {
                    let claimant = claims::of(&self.directory, slot);
                    if let Ok(None) = claimant {
                        let own = Some(slot);
                        return Ok((Self { own, ..self }, free));
                    }
                    // The head of its records is in another slot, or may be.
                    free.close().await?;
                    claimant?;
                }
                Err(StoreError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::in_use(self.directory))
    }

    async fn open(&self, slot: u32) -> Result<Arc<dyn RecordStore>, StoreError> {
        #[cfg(test)]
        self.before_opening.call(slot).await;
        let path = self.path(slot);
        self.kind
            .open(path, self.durability, self.cache_max_bytes)
            .await
    }

    /// The directory of the client's own slot.
    pub(crate) fn own_path(&self) -> PathBuf {
        let directory = || self.directory.clone();
        self.own.map_or_else(directory, |slot| self.path(slot))
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.directory.join(format!("slot-{slot}"))
    }

    /// Moves the records of all free slots into the engine's own store, as far as there is room.
    pub(crate) async fn adopt(&self, cache: &Cache, lifecycle: &Lifecycle) {
        let others = (0..MAX_SLOTS).filter(|&slot| Some(slot) != self.own);
        // A slot that was never used must not be created now.
        let mut slots: Vec<u32> = others.filter(|&slot| self.path(slot).is_dir()).collect();
        loop {
            let mut behind = Vec::new();
            for &slot in &slots {
                if lifecycle.is_closing() {
                    return;
                }
                match self.adopt_from(slot, cache, lifecycle).await {
                    Ok(Turn::Had) => {}
                    Ok(Turn::Waits) => behind.push(slot),
                    Err(StoreError::InUse { .. }) => {}
                    Err(error) => not_adopted(slot, &error),
                }
            }
            // The slots they wait for may have been emptied meanwhile.
            if behind.len() == slots.len() || behind.is_empty() {
                return;
            }
            slots = behind;
        }
    }

    async fn adopt_from(
        &self,
        slot: u32,
        cache: &Cache,
        lifecycle: &Lifecycle,
    ) -> Result<Turn, StoreError> {
        // To open a slot costs threads and syncs, and a starting instance would pass over it.
        if holds_nothing(&self.path(slot)) && claims::of(&self.directory, slot)?.is_none() {
            return Ok(Turn::Had);
        }
        let Some(orphan) = self.open_in_time(slot, lifecycle).await? else {
            return Ok(Turn::Had);
        };
        let adopted = self.adopt_all(slot, &*orphan, cache, lifecycle).await;
        // The remaining records are on disk already. The next instance to open the slot reports any
        // error.
        let _ = orphan.close().await;
        adopted
    }

    /// Opens a slot, unless the engine begins to close first.
    async fn open_in_time(
        &self,
        slot: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Arc<dyn RecordStore>>, StoreError> {
        tokio::select! {
            biased;
            () = lifecycle.closing() => Ok(None),
            opened = self.open(slot) => opened.map(Some),
        }
    }

    /// The slot is open here, so no one else takes it or changes its claim meanwhile.
    async fn adopt_all(
        &self,
        slot: u32,
        orphan: &dyn RecordStore,
        cache: &Cache,
        lifecycle: &Lifecycle,
    ) -> Result<Turn, StoreError> {
        if orphan.stats().records() > 0 {
            if self.must_wait(slot, lifecycle).await? {
                return Ok(Turn::Waits);
            }
            self.empty(slot, orphan, cache, lifecycle).await?;
        }
        if orphan.stats().records() == 0 {
            claims::pass_on(&self.directory, slot)?;
        }
        Ok(Turn::Had)
    }

    /// Whether the records in another slot must be adopted before those in this one.
    async fn must_wait(&self, slot: u32, lifecycle: &Lifecycle) -> Result<bool, StoreError> {
        let claimant = || claims::of(&self.directory, slot);
        loop {
            let first = claimant()?;
            let Some(other) = first.filter(|&first| Some(first) != self.own) else {
                return Ok(false);
            };
            if self.goes_first(other, lifecycle).await? {
                return Ok(true);
            }
            // Its records may have moved on meanwhile.
            if claimant()? == first {
                return Ok(false);
            }
        }
    }

    /// Whether a slot is in use, has readable records, or had records that moved elsewhere.
    async fn goes_first(&self, slot: u32, lifecycle: &Lifecycle) -> Result<bool, StoreError> {
        if !self.path(slot).is_dir() {
            return Ok(false);
        }
        if claims::of(&self.directory, slot)?.is_some() {
            return Ok(true);
        }
        Ok(match self.open_in_time(slot, lifecycle).await {
            Ok(Some(orphan)) => {
                let records = orphan.stats().records();
                let _ = orphan.close().await;
                records > 0
            }
            Ok(None) | Err(StoreError::InUse { .. }) => true,
            // Waiting for a slot that cannot be opened is pointless.
            Err(_) => false,
        })
    }

    /// Moves all records of a slot, oldest first, as far as there is room. A crash between the two
    /// steps of a move leaves records in both stores. They are delivered twice, never lost.
    async fn empty(
        &self,
        slot: u32,
        orphan: &dyn RecordStore,
        cache: &Cache,
        lifecycle: &Lifecycle,
    ) -> Result<(), StoreError> {
        const STEP: ReadLimits = ReadLimits::new(
            NonZeroUsize::new(256).expect("not zero"),
            NonZeroU64::new(256 * 1024).expect("not zero"),
        );
        let mut adopted = Amount::default();
        for stream in orphan.stats().streams.into_keys() {
            loop {
                let read = orphan.oldest(&stream, None, STEP).await?;
                log::damage(&stream, read.damaged);
                let mut records = read.records;
                if records.is_empty() || lifecycle.is_closing() {
                    break;
                }
                let step = loop {
                    let step = self.adopt_step(slot, orphan, cache, &stream, &records);
                    match step.await? {
                        // The whole step may never fit.
                        Adopted::NoRoom if records.len() > 1 => records.truncate(records.len() / 2),
                        step => break step,
                    }
                };
                match step {
                    Adopted::Stored(amount) => adopted += amount,
                    Adopted::NoRoom => break,
                    Adopted::TooLarge(error) => {
                        not_adopted(slot, &error);
                        break;
                    }
                }
            }
        }
        if adopted.records > 0 {
            tracing::info!(
                target: log::TARGET,
                records = adopted.records,
                bytes = adopted.bytes,
                "adopted the records of an instance that has ended"
            );
        }
        Ok(())
    }

    /// Moves these records. Only when they have room is the slot claimed: an instance that cannot
    /// adopt anything must not keep others from it.
    async fn adopt_step(
        &self,
        slot: u32,
        orphan: &dyn RecordStore,
        cache: &Cache,
        stream: &StreamName,
        records: &[Record],
    ) -> Result<Adopted, StoreError> {
        let moved = Settlement::new(stream.clone()).delete(records.iter().map(|record| record.id));
        let records = records
            .iter()
            .map(|record| NewRecord::moved(stream.clone(), record.clone()));
        let claim = || match self.own {
            Some(own) => claims::set(&self.directory, slot, own),
            None => Ok(()),
        };
        let adopted = cache.adopt(Incoming::new(records.collect()), claim).await?;
        if let Adopted::Stored(_) = adopted {
            orphan.settle(moved).await?;
        }
        Ok(adopted)
    }
}

/// Logs why records stay in another slot for now.
fn not_adopted(slot: u32, error: &dyn std::error::Error) {
    tracing::warn!(
        target: log::TARGET,
        slot,
        %error,
        "the records of another instance could not be adopted"
    );
}

/// The result of trying to adopt a slot.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Had,
    /// Its records must wait for those in another slot that is not empty.
    Waits,
}
