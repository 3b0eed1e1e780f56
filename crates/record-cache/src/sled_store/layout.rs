//! How the records of a payload lie in it, so that it need not be read to settle them.

use std::collections::BTreeMap;

use super::index::to_usize;
use super::pieces::Piece;

/// So many records of a stream are remembered at most.
const REMEMBERED: usize = 16 * 1024;

/// The sizes of the records of one payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) first: u64,
    sizes: Box<[u64]>,
}

impl Layout {
    pub(super) fn of(piece: &Piece) -> Self {
        let sizes = (0..piece.records()).map(|index| piece.record_size(index));
        Self {
            first: piece.first(),
            sizes: sizes.collect(),
        }
    }

    pub(super) const fn records(&self) -> usize {
        self.sizes.len()
    }

    pub(super) const fn end(&self) -> u64 {
        self.first + self.sizes.len() as u64
    }

    pub(super) fn size(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Where a record is among the others, and its size.
    pub(super) fn find(&self, sequence: u64) -> Option<(usize, u64)> {
        let index = to_usize(sequence.checked_sub(self.first)?);
        Some((index, *self.sizes.get(index)?))
    }
}

/// The payloads of a stream that were read, and will be settled soon.
#[derive(Debug, Clone, Default)]
pub(super) struct Layouts {
    by_first: BTreeMap<u64, Layout>,
    records: usize,
}

impl Layouts {
    pub(super) fn remember(&mut self, layout: Layout) {
        if self.records + layout.records() > REMEMBERED {
            *self = Self::default();
        }
        self.records += layout.records();
        if let Some(before) = self.by_first.insert(layout.first, layout) {
            self.records -= before.records();
        }
    }

    /// The payload that holds a record.
    pub(super) fn find(&self, sequence: u64) -> Option<&Layout> {
        let (_, layout) = self.by_first.range(..=sequence).next_back()?;
        (sequence < layout.end()).then_some(layout)
    }

    /// All that begin within a range are gone.
    pub(super) fn forget(&mut self, first: u64, end: u64) {
        let within = self.by_first.range(first..end);
        for gone in within.map(|(first, _)| *first).collect::<Vec<_>>() {
            if let Some(layout) = self.by_first.remove(&gone) {
                self.records -= layout.records();
            }
        }
    }
}
