//! The log with its index in sled.

use crate::disk::disk_store;
use crate::index::paged::IndexSettings;
use crate::{Durability, StoreError};

disk_store! {
    /// Stores records in an append-only log on disk and, once there are many, their positions in a
    /// [sled](https://docs.rs/sled) database.
    ///
    /// Once [`append`](crate::RecordStore::append) returns `Ok`, the records survive what
    /// [`Durability`] says: power loss, or the end of the process. Records appended during a write
    /// go into the next write, so one sync serves them all.
    ///
    /// A directory has one user at a time, in this process or another. The log takes at most twice
    /// the bytes of the live frames plus two segments, and returns disk space when it is empty.
    /// Damage never prevents opening: damaged records are skipped and counted, and unreadable files
    /// are moved aside within the directory, to `corrupt-<unix time>`. The database is rebuilt from
    /// the log if anything is wrong with it. `JournalStore` (feature `journal`) uses the same
    /// files, so each can open what the other wrote.
    ///
    /// Dropping the store finishes pending work and releases the directory shortly afterwards;
    /// [`close`](crate::RecordStore::close) waits for that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use record_cache::{NewRecord, RecordStore, SledStore, StreamName};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("cache");
    /// let store = SledStore::open(&path).await?;
    /// let orders = StreamName::new("orders")?;
    /// store.append(vec![NewRecord::new(orders, None, "an order")]).await?;
    /// store.close().await?;
    ///
    /// // The next run of the program finds it.
    /// let store = SledStore::open(&path).await?;
    /// assert_eq!(store.stats().records(), 1);
    /// # store.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    SledStore, SledStoreBuilder, IndexSettings::default()
}

impl SledStoreBuilder {
    /// About how many record positions to keep in memory, plus a 64th of that, up to 32, for each
    /// stream. Default: 262,144.
    ///
    /// Beyond that, positions are kept in a database, and memory holds the most recently used. A
    /// position takes about 30 bytes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use record_cache::SledStore;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// // A small machine, and a link that is down for days at a time.
    /// let store = SledStore::builder(directory).records_in_memory(10_000).open().await?;
    /// # record_cache::RecordStore::close(&store).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn records_in_memory(mut self, records: usize) -> Self {
        self.index.records_in_memory = records;
        self
    }
}
