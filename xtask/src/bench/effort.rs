//! How thorough the measurements are.

use std::time::Duration;

use tokio::time::Instant;

use super::amount::MIB;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Quick,
}

impl Effort {
    /// At most `most` rounds, and no third one if they take longer than `patience`.
    pub(crate) fn rounds(self, most: usize, patience: Duration) -> impl Iterator<Item = usize> {
        let most = match self {
            Self::Full => most,
            Self::Quick => most.min(5),
        };
        let start = Instant::now();
        (0..most).take_while(move |&round| round < 2 || start.elapsed() < patience)
    }

    /// How long one contender runs in one round.
    pub(crate) const fn slice(self) -> Duration {
        match self {
            Self::Full => Duration::from_millis(300),
            Self::Quick => Duration::from_millis(100),
        }
    }

    pub(crate) const fn batches(self) -> usize {
        match self {
            Self::Full => 600,
            Self::Quick => 60,
        }
    }

    pub(crate) const fn passes(self) -> usize {
        match self {
            Self::Full => 50,
            Self::Quick => 20,
        }
    }

    pub(crate) const fn passing_bytes(self) -> u64 {
        match self {
            Self::Full => 200 * MIB,
            Self::Quick => 50 * MIB,
        }
    }

    /// A number of records, or a tenth of it.
    pub(crate) const fn records(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => full / 10,
        }
    }
}
