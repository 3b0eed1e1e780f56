//! Memory that records are read into, again and again.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What is kept for the next reads; more is given back at once.
const KEPT_BYTES: usize = 16 << 20;

/// Buffers that are not in use, as long as others are.
///
/// Fresh memory costs a page fault for every 4 KiB, about as much as reading into it.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    free: Vec<Vec<u8>>,
    free_bytes: usize,
    /// In use.
    lent: usize,
}

impl Buffers {
    /// A buffer, with anything in it.
    pub(super) fn lend(&self) -> Buffer {
        let mut state = self.lock();
        let bytes = state.free.pop().unwrap_or_default();
        state.free_bytes -= bytes.capacity();
        state.lent += 1;
        drop(state);
        let buffers = self.clone();
        Buffer { bytes, buffers }
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.lent -= 1;
        if state.lent == 0 {
            let idle = mem::take(&mut *state);
            drop(state);
            drop(idle);
        } else if state.free_bytes + bytes.capacity() <= KEPT_BYTES {
            state.free_bytes += bytes.capacity();
            state.free.push(bytes);
        }
    }

    // No code that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes back to where it was lent from when the last of its bytes is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    buffers: Buffers,
}

impl Buffer {
    /// What is in it, to be shared.
    pub(super) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
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
    use super::{Buffers, KEPT_BYTES};

    /// How many buffers are kept, and their bytes.
    fn kept(buffers: &Buffers) -> (usize, usize) {
        let state = buffers.lock();
        let bytes = state.free.iter().map(Vec::capacity).sum();
        assert_eq!(state.free_bytes, bytes);
        (state.free.len(), bytes)
    }

    #[test]
    fn a_buffer_is_lent_again_once_the_last_of_its_bytes_is_gone() {
        let buffers = Buffers::default();
        let _other = buffers.lend();
        let mut buffer = buffers.lend();
        buffer.bytes.extend([7; 100]);
        let place = buffer.bytes.as_ptr();
        let all = buffer.share();
        let part = all.slice(40..50);
        drop(all);
        assert_eq!(kept(&buffers).0, 0);
        assert_eq!(part, [7; 10][..]);
        drop(part);
        assert_eq!(kept(&buffers).0, 1);
        assert_eq!(buffers.lend().bytes.as_ptr(), place);
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_in_use() {
        let buffers = Buffers::default();
        let mut lent: Vec<_> = std::iter::repeat_with(|| buffers.lend()).take(3).collect();
        lent.iter_mut().for_each(|lent| lent.bytes.reserve(1000));
        lent.truncate(1);
        assert_eq!(kept(&buffers).0, 2);
        lent.clear();
        assert_eq!(kept(&buffers), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Buffers::default();
        let _other = buffers.lend();
        let mut lent: Vec<_> = std::iter::repeat_with(|| buffers.lend()).take(9).collect();
        for lent in &mut lent {
            lent.bytes.reserve_exact(KEPT_BYTES / 4);
        }
        drop(lent);
        assert_eq!(kept(&buffers), (4, KEPT_BYTES));
    }
}
