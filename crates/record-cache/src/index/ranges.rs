//! Sets of sequence numbers, stored as ranges.

use std::collections::BTreeMap;

use bytes::Buf;

/// The bytes of one range on disk.
const RANGE_BYTES: usize = 12;

/// A set of numbers, in which adjacent numbers share one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// The first number of each range, and the number after its last.
    bounds: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// How many numbers the set has.
    pub(crate) fn count(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges in ascending order, each with the number after its last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.bounds.iter().map(|(&start, &end)| (start, end))
    }

    /// All numbers, in ascending order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().flat_map(|(start, end)| start..end)
    }

    pub(crate) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        // The usual case: the new range comes after everything in the set.
        if let Some(mut last) = self.bounds.last_entry()
            && *last.get() == start
        {
            *last.get_mut() = end;
            return;
        }
        while let Some((&at, &reach)) = self.bounds.range(..=end).next_back() {
            if reach < start {
                break;
            }
            start = start.min(at);
            end = end.max(reach);
            self.bounds.remove(&at);
        }
        self.bounds.insert(start, end);
    }

    pub(crate) fn insert_all(&mut self, other: &Self) {
        other
            .iter()
            .for_each(|(start, end)| self.insert(start, end));
    }

    pub(crate) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        while let Some((&at, &reach)) = self.bounds.range(..end).next_back() {
            if reach <= start {
                break;
            }
            self.bounds.remove(&at);
            if at < start {
                self.bounds.insert(at, start);
            }
            if reach > end {
                self.bounds.insert(end, reach);
            }
        }
    }

    pub(crate) fn remove_all(&mut self, other: &Self) {
        if !self.is_empty() {
            other
                .iter()
                .for_each(|(start, end)| self.remove(start, end));
        }
    }

    pub(crate) fn encoded_length(&self) -> usize {
        4 + self.pieces().count() * RANGE_BYTES
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let pieces = u32::try_from(self.pieces().count()).unwrap_or(u32::MAX);
        into.extend(pieces.to_le_bytes());
        for (start, count) in self.pieces() {
            into.extend(start.to_le_bytes());
            into.extend(count.to_le_bytes());
        }
    }

    /// Each range as its start and length. A range too long for a length field is split.
    fn pieces(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.iter().flat_map(|(mut at, end)| {
            std::iter::from_fn(move || {
                let count = u32::try_from(end - at).unwrap_or(u32::MAX);
                let piece = (at, count);
                at += u64::from(count);
                (count > 0).then_some(piece)
            })
        })
    }

    /// Reads what `encode` wrote and advances past it.
    pub(crate) fn decode(from: &mut &[u8]) -> Option<Self> {
        let (pieces, rest) = from.split_first_chunk()?;
        *from = rest;
        let mut ranges = Self::default();
        for _ in 0..u32::from_le_bytes(*pieces) {
            let mut piece = from.split_off(..RANGE_BYTES)?;
            let (start, count) = (piece.get_u64_le(), piece.get_u32_le());
            ranges.insert(start, start.checked_add(count.into())?);
        }
        Some(ranges)
    }
}

impl FromIterator<u64> for Ranges {
    /// Accepts the numbers in any order. The highest `u64` cannot be in a set.
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Self::default();
        for number in numbers {
            ranges.insert(number, number.saturating_add(1));
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn ranges_agree_with_a_plain_set(
            steps in vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..40),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (insert, start, length) in steps {
                if insert {
                    ranges.insert(start, start + length);
                    model.extend(start..start + length);
                } else {
                    ranges.remove(start, start + length);
                    model.retain(|number| !(start..start + length).contains(number));
                }
                prop_assert!(ranges.numbers().eq(model.iter().copied()));
                prop_assert_eq!(ranges.count(), model.len() as u64);
                prop_assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.1 < b.0));
                let mut bytes = Vec::new();
                ranges.encode(&mut bytes);
                prop_assert_eq!(bytes.len(), ranges.encoded_length());
                prop_assert_eq!(Ranges::decode(&mut &bytes[..]), Some(ranges.clone()));
            }
        }
    }

    #[test]
    fn a_range_longer_than_a_count_survives() {
        let mut ranges = Ranges::default();
        ranges.insert(5, 10 + (1 << 33));
        let mut bytes = Vec::new();
        ranges.encode(&mut bytes);
        assert_eq!(bytes.len(), ranges.encoded_length());
        assert_eq!(Ranges::decode(&mut &bytes[..]), Some(ranges));
    }

    #[test]
    fn bytes_that_are_no_ranges_are_refused() {
        assert_eq!(Ranges::decode(&mut &[1, 0, 0][..]), None);
        assert_eq!(Ranges::decode(&mut &[2, 0, 0, 0, 1, 2, 3][..]), None);
    }
}
