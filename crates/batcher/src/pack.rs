//! The packing iterator.

use std::fmt;
use std::iter::{FusedIterator, Peekable};

use crate::BatchLimits;

/// Packs items into batches, greedily and in order.
///
/// Each batch takes items until one more would exceed a limit. Nothing is lost, repeated or
/// reordered, and no batch is empty. An item larger than `limits.max_bytes` gets a batch of its
/// own, the only kind of batch that exceeds a limit.
///
/// `size_of` is called once or twice per item and must always give the same answer.
///
/// ```
/// use std::num::{NonZeroU64, NonZeroUsize};
/// use batcher::{BatchLimits, pack};
///
/// let limits = BatchLimits::new(NonZeroUsize::new(3).unwrap(), NonZeroU64::new(8).unwrap());
/// let words = ["one", "two", "three", "four", "five"];
/// let batches: Vec<_> = pack(words, limits, |word| word.len() as u64).collect();
/// assert_eq!(batches, [vec!["one", "two"], vec!["three"], vec!["four", "five"]]);
/// ```
pub fn pack<I, F>(items: I, limits: BatchLimits, size_of: F) -> Pack<I::IntoIter, F>
where
    I: IntoIterator,
    F: FnMut(&I::Item) -> u64,
{
    Pack {
        items: items.into_iter().peekable(),
        limits,
        size_of,
    }
}

/// The iterator returned by [`pack`].
///
/// ```
/// use batcher::{BatchLimits, pack};
/// use std::num::{NonZeroU64, NonZeroUsize};
///
/// let limits = BatchLimits::new(NonZeroUsize::MIN.saturating_add(1), NonZeroU64::MAX);
/// let lines = ["one", "two", "three"];
/// for batch in pack(lines, limits, |line| line.len() as u64) {
///     println!("a request with {} lines", batch.len());
/// }
/// ```
pub struct Pack<I: Iterator, F> {
    items: Peekable<I>,
    limits: BatchLimits,
    size_of: F,
}

impl<I, F> Iterator for Pack<I, F>
where
    I: Iterator,
    F: FnMut(&I::Item) -> u64,
{
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.items.next()?;
        let mut bytes = (self.size_of)(&first);
        let mut batch = vec![first];
        while batch.len() < self.limits.max_items.get() {
            // `None` if an oversized first item exceeds the byte limit.
            let Some(room) = self.limits.max_bytes.get().checked_sub(bytes) else {
                break;
            };
            let size_of = &mut self.size_of;
            let mut size = 0;
            let fits = |item: &I::Item| {
                size = size_of(item);
                size <= room
            };
            let Some(item) = self.items.next_if(fits) else {
                break;
            };
            bytes += size;
            batch.push(item);
        }
        Some(batch)
    }
}

impl<I, F> FusedIterator for Pack<I, F>
where
    I: FusedIterator,
    F: FnMut(&I::Item) -> u64,
{
}

impl<I: Iterator, F> fmt::Debug for Pack<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
