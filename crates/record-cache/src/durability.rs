//! How durable the records of a disk store are.

/// What an appended record survives.
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
