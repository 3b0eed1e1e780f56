//! Reusable memory for reading records.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::catalog::lock;
use crate::clock;

/// The most bytes kept for later reads. Anything beyond that is freed immediately.
const KEPT_BYTES: usize = 16 << 20;
/// The smallest buffer worth keeping. The allocator keeps smaller ones itself.
const SMALLEST: usize = 16 << 10;
/// How long an unused buffer is kept.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(1);

/// A pool of reusable buffers.
///
/// Fresh memory costs a page fault for every 4 KiB, about as much as reading into it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Free buffers, and when they were returned; the last one is the most recent.
    free: VecDeque<(Vec<u8>, Instant)>,
    free_bytes: usize,
    /// Whether nothing was lent since the last release. What comes back then is freed.
    released: bool,
}

impl Buffers {
    /// A buffer for this many bytes, with arbitrary contents.
    ///
    /// A read fills the whole buffer, so it should be no larger than needed.
    pub(crate) fn lend(&self, length: usize) -> Buffer {
        let suitable = length..=length.saturating_add(length / 4);
        let mut state = lock(&self.0);
        let mut free = state.free.iter();
        let found = free.rposition(|(it, _)| suitable.contains(&it.capacity()));
        let found = found.and_then(|at| state.free.remove(at));
        let bytes = found.map_or_else(Vec::new, |(bytes, _)| bytes);
        state.free_bytes -= bytes.capacity();
        state.released = false;
        drop(state);
        let buffers = self.clone();
        Buffer { bytes, buffers }
    }

    /// Frees what is unused, because no reads are expected for a while.
    pub(crate) fn release(&self) {
        let released = State {
            released: true,
            ..State::default()
        };
        let unused = mem::replace(&mut *lock(&self.0), released);
        drop(unused);
    }

    #[cfg(test)]
    pub(crate) fn unused_bytes(&self) -> usize {
        lock(&self.0).free_bytes
    }

    fn take_back(&self, bytes: Vec<u8>) {
        if !(SMALLEST..=KEPT_BYTES).contains(&bytes.capacity()) {
            return;
        }
        let now = clock::monotonic();
        let mut state = lock(&self.0);
        if state.released {
            return;
        }
        state.free_bytes += bytes.capacity();
        state.free.push_back((bytes, now));
        let mut unused = Vec::new();
        while let Some((oldest, since)) = state.free.front()
            && (state.free_bytes > KEPT_BYTES || now.saturating_duration_since(*since) > KEPT_FOR)
        {
            state.free_bytes -= oldest.capacity();
            unused.extend(state.free.pop_front());
        }
        drop(state);
        drop(unused);
    }
}

/// A buffer from a pool, returned to it when the last of its bytes is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    buffers: Buffers,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.buffers.take_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, Buffers, KEPT_BYTES, KEPT_FOR, SMALLEST, lock};

    /// The number of unused buffers, and their bytes.
    fn kept(buffers: &Buffers) -> (usize, usize) {
        let state = lock(&buffers.0);
        let bytes = state.free.iter().map(|(bytes, _)| bytes.capacity()).sum();
        assert_eq!(state.free_bytes, bytes);
        (state.free.len(), bytes)
    }

    fn lend(buffers: &Buffers, length: usize) -> Buffer {
        let mut lent = buffers.lend(length);
        lent.bytes.reserve_exact(length);
        lent
    }

    #[test]
    fn a_buffer_is_lent_again_once_the_last_of_its_bytes_is_gone() {
        let buffers = Buffers::default();
        let mut buffer = lend(&buffers, SMALLEST);
        buffer.bytes.extend([7; SMALLEST]);
        let place = buffer.bytes.as_ptr();
        let all = bytes::Bytes::from_owner(buffer);
        let part = all.slice(40..50);
        drop(all);
        assert_eq!(kept(&buffers).0, 0);
        assert_eq!(part, [7; 10][..]);
        drop(part);
        assert_eq!(kept(&buffers).0, 1);
        assert_eq!(buffers.lend(SMALLEST).bytes.as_ptr(), place);
    }

    #[test]
    fn a_buffer_has_room_enough_and_not_much_more() {
        let buffers = Buffers::default();
        drop(lend(&buffers, 100_000));
        let lengths = [
            (1, false),
            (79_999, false),
            (80_000, true),
            (100_001, false),
        ];
        for (length, is_suitable) in lengths {
            let lent = buffers.lend(length);
            assert_eq!(lent.bytes.capacity() == 100_000, is_suitable, "{length}");
        }
    }

    #[test]
    fn nothing_is_kept_after_a_release_until_more_is_lent() {
        let buffers = Buffers::default();
        let late = lend(&buffers, SMALLEST);
        drop(lend(&buffers, SMALLEST));
        assert_eq!(kept(&buffers), (1, SMALLEST), "freed while reads go on");
        buffers.release();
        assert_eq!(kept(&buffers), (0, 0));
        drop(late);
        assert_eq!(kept(&buffers), (0, 0));
        drop(lend(&buffers, SMALLEST));
        assert_eq!(kept(&buffers), (1, SMALLEST));
    }

    #[test]
    fn what_was_long_unused_is_freed_though_reads_go_on() {
        let buffers = Buffers::default();
        let lent = [1, 2, 3].map(|times| lend(&buffers, times * SMALLEST));
        drop(lent);
        for (_, since) in lock(&buffers.0).free.iter_mut().take(2) {
            *since = since.checked_sub(2 * KEPT_FOR).unwrap();
        }
        drop(lend(&buffers, 3 * SMALLEST));
        assert_eq!(kept(&buffers), (1, 3 * SMALLEST));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let buffers = Buffers::default();
        let quarter = KEPT_BYTES / 4;
        let small = SMALLEST - 1;
        let lengths = [
            SMALLEST,
            quarter,
            quarter,
            quarter,
            quarter,
            small,
            KEPT_BYTES + 1,
        ];
        drop(lengths.map(|length| lend(&buffers, length)));
        assert_eq!(kept(&buffers), (4, KEPT_BYTES));
    }
}
