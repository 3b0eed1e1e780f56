//! What the records of a disk store survive.

/// What a record that was appended survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The loss of power: the bytes are on stable storage when `append` returns.
    #[default]
    PowerLoss,
    /// The end of the process, `kill -9` included, but not of the machine. Faster
    /// where syncing is slow.
    ProcessCrash,
}
