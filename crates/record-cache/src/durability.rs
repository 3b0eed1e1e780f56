//! How durable the records of a disk store are.

/// What an appended record survives.
///
/// ```
/// # #[cfg(feature = "sled")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::{Durability, SledStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// // Clicks: a machine crash may take the last few.
/// let store = SledStore::builder(directory).durability(Durability::ProcessCrash).open().await?;
/// # record_cache::RecordStore::close(&store).await?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sled"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Power loss: the bytes are on stable storage when `append` returns.
    #[default]
    PowerLoss,
    /// The end of the process, including `kill -9`, but not a machine crash. Faster where syncing
    /// is slow.
    ProcessCrash,
}
