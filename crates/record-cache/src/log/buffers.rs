//! Reusable memory for reading records.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};

use super::catalog::lock;

/// The most bytes kept for later reads. Anything beyond that is freed immediately.
const KEPT_BYTES: usize = 16 << 20;

/// A pool of reusable buffers.
///
/// Fresh memory costs a page fault for every 4 KiB, about as much as reading into it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Free buffers, most recently returned last.
    free: VecDeque<Vec<u8>>,
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
        let found = free.rposition(|it| suitable.contains(&it.capacity()));
        let bytes = found.and_then(|at| state.free.remove(at));
        let bytes = bytes.unwrap_or_default();
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
        let mut state = lock(&self.0);
        if !state.released && bytes.capacity() <= KEPT_BYTES {
            state.free_bytes += bytes.capacity();
            state.free.push_back(bytes);
            while state.free_bytes > KEPT_BYTES
                && let Some(oldest) = state.free.pop_front()
            {
                state.free_bytes -= oldest.capacity();
            }
        }
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
    use super::{Buffers, KEPT_BYTES, lock};

    /// The number of unused buffers, and their bytes.
    fn kept(buffers: &Buffers) -> (usize, usize) {
        let state = lock(&buffers.0);
        let bytes = state.free.iter().map(Vec::capacity).sum();
        assert_eq!(state.free_bytes, bytes);
        (state.free.len(), bytes)
    }

    #[test]
    fn a_buffer_is_lent_again_once_the_last_of_its_bytes_is_gone() {
        let buffers = Buffers::default();
        let mut buffer = buffers.lend(100);
        buffer.bytes.reserve_exact(100);
        buffer.bytes.extend([7; 100]);
        let place = buffer.bytes.as_ptr();
        let all = bytes::Bytes::from_owner(buffer);
        let part = all.slice(40..50);
        drop(all);
        assert_eq!(kept(&buffers).0, 0);
        assert_eq!(part, [7; 10][..]);
        drop(part);
        assert_eq!(kept(&buffers).0, 1);
        assert_eq!(buffers.lend(100).bytes.as_ptr(), place);
    }

    #[test]
    fn a_buffer_has_room_enough_and_not_much_more() {
        let buffers = Buffers::default();
        let mut buffer = buffers.lend(1000);
        buffer.bytes.reserve_exact(1000);
        drop(buffer);
        for (length, is_suitable) in [(1, false), (799, false), (800, true), (1001, false)] {
            let lent = buffers.lend(length);
            assert_eq!(lent.bytes.capacity() == 1000, is_suitable, "{length}");
        }
    }

    #[test]
    fn nothing_is_kept_after_a_release_until_more_is_lent() {
        let buffers = Buffers::default();
        let lend = || {
            let mut lent = buffers.lend(1000);
            lent.bytes.reserve_exact(1000);
            lent
        };
        let late = lend();
        drop(lend());
        assert_eq!(kept(&buffers), (1, 1000), "it was freed while reads go on");
        buffers.release();
        assert_eq!(kept(&buffers), (0, 0));
        drop(late);
        assert_eq!(kept(&buffers), (0, 0));
        drop(lend());
        assert_eq!(kept(&buffers), (1, 1000));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let buffers = Buffers::default();
        let quarter = KEPT_BYTES / 4;
        let lengths = [1, 1, quarter, quarter, quarter, quarter, KEPT_BYTES + 1];
        let mut lent = lengths.map(|length| buffers.lend(length));
        for (lent, length) in lent.iter_mut().zip(lengths) {
            lent.bytes.reserve_exact(length);
        }
        drop(lent);
        assert_eq!(kept(&buffers), (4, KEPT_BYTES));
    }
}
