//! The log with its index in memory.

use crate::disk::disk_store;
use crate::index::paged::IndexSettings;
use crate::{Durability, StoreError};

disk_store! {
    /// Stores records in an append-only log on disk, at the speed of the disk.
    ///
    /// Records appended during a write go into the next write, so one sync serves them all.
    /// Payloads stay on disk; memory holds 24 bytes per record.
    ///
    /// # Guarantees
    /// With [`Durability::PowerLoss`] (the default), a record is on stable storage when `append`
    /// returns. With [`Durability::ProcessCrash`], the operating system has it, and only a machine
    /// crash can lose it. [`clear`](crate::RecordStore::clear) and
    /// [`close`](crate::RecordStore::close) are durable in both.
    ///
    /// The log takes at most twice the bytes of the live frames plus two segments; an empty store keeps
    /// one segment.
    ///
    /// An incomplete write at the end of the log is dropped on opening. A damaged record is skipped
    /// and counted; all others are kept. The directory has one user at a time, in this process or
    /// another. `SledStore` (feature `sled`) uses the same files, so each can open what the other
    /// wrote.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let store = JournalStore::open(directory.path().join("cache")).await?;
    /// let stream = StreamName::new("orders")?;
    /// store.append(vec![NewRecord::new(stream, None, "an order")]).await?;
    /// store.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    JournalStore, JournalStoreBuilder, IndexSettings::in_memory()
}
