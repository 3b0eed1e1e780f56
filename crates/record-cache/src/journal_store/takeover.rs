//! Moving the records of another store over.

use std::num::{NonZeroU64, NonZeroUsize};

use super::JournalStore;
use super::group::Origin;
use super::shared::Request;
use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, Record, RecordId, RecordStore, Settlement,
    StoreError, StreamName, clock,
};

const BATCH: ReadLimits = ReadLimits::new(
    NonZeroUsize::MIN.saturating_add(999),
    NonZeroU64::MIN.saturating_add((4 << 20) - 1),
);
const ONE: ReadLimits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MIN);

/// What moving records came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Records that are in the other store now.
    pub moved: Amount,
    /// Records that had been moved before, by a call that did not come to its end.
    pub moved_before: Amount,
    /// Records that could not be read any more.
    pub damaged: Amount,
}

/// Moves all records from one store to another, those of each stream in order.
///
/// Attempts and times are kept; ids are new. Each batch is appended to `to` before it is
/// deleted from `from`, so nothing is ever lost, but a batch may be moved twice when the
/// process ends in between. [`JournalStore::take_over`] moves each record once.
///
/// # Errors
/// Those of the two stores; what was moved by then stays moved.
///
/// # Cancel safety
/// As an end of the process.
pub async fn move_records(
    from: &dyn RecordStore,
    to: &dyn RecordStore,
) -> Result<Moved, StoreError> {
    let mut report = Moved::default();
    for stream in from.stats().streams.into_keys() {
        loop {
            let batch = from.oldest(&stream, None, BATCH).await?;
            report.damaged += batch.damaged;
            if batch.records.is_empty() {
                break;
            }
            let ids: Vec<RecordId> = batch.records.iter().map(|record| record.id).collect();
            to.append(renewed(&stream, batch.records)).await?;
            report.moved += from
                .settle(Settlement::new(stream.clone()).delete(ids))
                .await?;
        }
    }
    Ok(report)
}

impl JournalStore {
    /// Moves all records of another store into this one, each once, those of each stream
    /// in order.
    ///
    /// Attempts and times are kept; ids are new. With each batch, and in the same step,
    /// the journal notes under the name `source` how far it has come. A call that follows
    /// one which was interrupted finds the note: it deletes from the other store what had
    /// been taken over, and goes on behind it. The note holds a checksum of the last
    /// record, so another store that happens to use the same ids is not mistaken for it.
    ///
    /// A batch is on stable storage here, whatever the durability, before it is deleted
    /// there. The other store has to be left alone meanwhile. It is empty afterwards and
    /// stays open.
    ///
    /// # Errors
    /// Those of the two stores; what was moved by then stays moved.
    ///
    /// # Cancel safety
    /// Call it again to go on.
    pub async fn take_over(
        &self,
        from: &dyn RecordStore,
        source: &str,
    ) -> Result<Moved, StoreError> {
        let mut report = Moved::default();
        for stream in from.stats().streams.into_keys() {
            let noted = self.ask(|reply| Request::Origin {
                source: source.to_owned(),
                stream: stream.clone(),
                reply,
            });
            if let Some(noted) = noted.await?
                && is_there(from, &noted).await?
            {
                report.moved_before += delete_up_to(from, &stream, noted.last).await?;
            }
            loop {
                let ReadBatch { records, damaged } = from.oldest(&stream, None, BATCH).await?;
                report.damaged += damaged;
                let Some(last) = records.last() else { break };
                let origin = Origin {
                    source: source.to_owned(),
                    stream: stream.clone(),
                    last: last.id.get(),
                    checksum: checksum(last),
                };
                let ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
                let records = renewed(&stream, records);
                let origin = Some(origin);
                self.ask(|reply| Request::Append {
                    records,
                    origin,
                    reply,
                })
                .await?;
                report.moved += from
                    .settle(Settlement::new(stream.clone()).delete(ids))
                    .await?;
            }
        }
        Ok(report)
    }

    /// Moves the records that a [`SledStore`](crate::SledStore) keeps in this directory, as
    /// [`take_over`](Self::take_over) does; where there is no such thing, nothing happens.
    ///
    /// So a program that used a directory of sled's calls it at each start, before it uses
    /// this store, until no installation is left that has not done so. What stays in the
    /// directory is an empty cache; it may be deleted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use record_cache::JournalStore;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let (new, old) = (directory.path().join("journal"), directory.path().join("cache"));
    /// let journal = JournalStore::open(new).await?;
    /// let moved = journal.take_over_sled(old).await?;
    /// println!("{} records moved", moved.moved.records);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the two stores, [`StoreError::InUse`] for the directory among them; what
    /// was moved by then stays moved.
    ///
    /// # Cancel safety
    /// Call it again to go on.
    #[cfg(feature = "sled")]
    pub async fn take_over_sled(
        &self,
        path: impl Into<std::path::PathBuf>,
    ) -> Result<Moved, StoreError> {
        let path = path.into();
        if !super::home::holds_sled(&path) {
            return Ok(Moved::default());
        }
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        let sled = crate::SledStore::open(path).await?;
        let outcome = self.take_over(&sled, &whole.to_string_lossy()).await;
        let closed = sled.close().await;
        outcome.and_then(|moved| closed.map(|()| moved))
    }
}

/// Whether the record that was taken over last is still in the other store.
async fn is_there(from: &dyn RecordStore, noted: &Origin) -> Result<bool, StoreError> {
    let before = noted.last.checked_sub(1).map(RecordId::new);
    let found = from.oldest(&noted.stream, before, ONE).await?.records;
    let same =
        |record: &Record| record.id.get() == noted.last && checksum(record) == noted.checksum;
    Ok(found.first().is_some_and(same))
}

async fn delete_up_to(
    from: &dyn RecordStore,
    stream: &StreamName,
    last: u64,
) -> Result<Amount, StoreError> {
    let mut deleted = Amount::default();
    loop {
        let records = from.oldest(stream, None, BATCH).await?.records;
        let ids: Vec<RecordId> = records
            .iter()
            .map(|record| record.id)
            .filter(|id| id.get() <= last)
            .collect();
        if ids.is_empty() {
            return Ok(deleted);
        }
        deleted += from
            .settle(Settlement::new(stream.clone()).delete(ids))
            .await?;
    }
}

fn renewed(stream: &StreamName, records: Vec<Record>) -> Vec<NewRecord> {
    records
        .into_iter()
        .map(|record| NewRecord::moved(stream.clone(), record))
        .collect()
}

fn checksum(record: &Record) -> u32 {
    let time = clock::to_unix_millis(record.recorded_at);
    let checksum = crc32c::crc32c(&time.to_le_bytes());
    let key = record.key.as_deref().unwrap_or_default();
    crc32c::crc32c_append(
        crc32c::crc32c_append(checksum, key.as_bytes()),
        &record.data,
    )
}
