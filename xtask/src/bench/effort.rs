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
        let most = self.choose(most, most.min(5));
        let start = Instant::now();
        (0..most).take_while(move |&round| round < 2 || start.elapsed() < patience)
    }

    /// How long one contender runs in one round.
    pub(crate) const fn slice(self) -> Duration {
        Duration::from_millis(self.choose(300, 100))
    }

    /// Batches per round. The first few thousand run while the index still writes what filled it.
    pub(crate) const fn batches(self) -> usize {
        self.choose(8000, 60)
    }

    pub(crate) const fn passes(self) -> usize {
        self.choose(50, 20)
    }

    pub(crate) const fn passing_bytes(self) -> u64 {
        self.choose(200 * MIB, 50 * MIB)
    }

    /// A number of records, or a tenth of it.
    pub(crate) const fn records(self, full: usize) -> usize {
        self.choose(full, full / 10)
    }

    const fn choose<T: Copy>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
