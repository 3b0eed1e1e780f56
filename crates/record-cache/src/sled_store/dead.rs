//! Payloads whose records are gone, and which the tree still has.
//!
//! They do no harm where they are: a generation that is replaced leaves them behind, and
//! removing them writes to the disk. So they are removed only when their room is needed.

use std::collections::VecDeque;

use super::codec::Progress;
use super::fault::Outcome;
use super::generation::Generation;
use super::index::Index;
use super::keys::{self, Place, StreamId};

/// All of them, those that have been dead for longest first.
#[derive(Debug, Default)]
pub(super) struct Dead {
    ranges: VecDeque<Range>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    stream: StreamId,
    first: u64,
    end: u64,
}

impl Dead {
    /// What may be left over from earlier.
    pub(super) fn of(index: &Index) -> Self {
        let mut dead = Self::default();
        for stream in index.streams.values() {
            dead.push(stream.id, 0, stream.head);
            for (first, progress) in &stream.progress {
                if let Progress::Done { count, .. } = progress {
                    dead.push(stream.id, *first, first.saturating_add(*count));
                }
            }
        }
        dead
    }

    /// Adds what stands under some sequences.
    pub(super) fn push(&mut self, stream: StreamId, first: u64, end: u64) {
        match self.ranges.back_mut() {
            Some(last) if last.stream == stream && last.end == first => last.end = end,
            _ if first < end => self.ranges.push_back(Range { stream, first, end }),
            _ => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Removes up to so many payloads, in the order of their keys: sled merges pages that
    /// are almost empty then, and would rewrite several times as much in the random order
    /// in which it takes a batch.
    pub(super) fn remove(&mut self, generation: &Generation, most: usize) -> Outcome<()> {
        let mut left = most;
        while let Some(range) = self.ranges.front_mut() {
            let mut removed = Vec::new();
            let within = keys::payloads_between(range.stream, range.first, range.end - 1);
            for key in generation.tree().range(within).keys().take(left) {
                removed.push(key?);
            }
            left -= removed.len();
            let last = removed.last().and_then(|key| Place::of_key(key));
            for key in removed {
                generation.tree().remove(key)?;
            }
            if left == 0 {
                // The rest of a large record comes next time.
                range.first = last.map_or(range.first, |last| last.sequence);
                return Ok(());
            }
            self.ranges.pop_front();
        }
        Ok(())
    }
}
