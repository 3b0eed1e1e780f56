//! Reusable buffers for request bodies.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Maximum bytes to keep for later requests; anything more is freed immediately.
const KEPT_BYTES: usize = 4 << 20;

/// Unused buffers; the most recently returned one is at the end.
///
/// Fresh memory costs a page fault per 4 KiB, which takes longer than writing there.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<Vec<Vec<u8>>>>);

impl Bodies {
    /// An empty buffer with room for this many bytes.
    pub(super) fn lend(&self, bytes: usize) -> Vec<u8> {
        let mut unused = self.unused();
        let suitable = unused.iter().rposition(|it| it.capacity() >= bytes);
        let found = suitable.map(|at| unused.remove(at));
        drop(unused);
        found.unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    /// Shares the bytes written into a buffer. The buffer returns to the pool when the last of them
    /// is dropped.
    pub(super) fn share(&self, body: Vec<u8>) -> Bytes {
        let bodies = self.clone();
        Bytes::from_owner(Body { body, bodies })
    }

    fn take_back(&self, mut body: Vec<u8>) {
        body.clear();
        let mut unused = self.unused();
        unused.push(body);
        while unused.iter().map(Vec::capacity).sum::<usize>() > KEPT_BYTES {
            unused.remove(0);
        }
    }

    // No code that can panic runs under the lock, so a poisoned lock is still consistent.
    fn unused(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Body {
    body: Vec<u8>,
    bodies: Bodies,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.bodies.take_back(mem::take(&mut self.body));
    }
}

#[cfg(test)]
mod tests {
    use super::{Bodies, KEPT_BYTES};

    fn kept(bodies: &Bodies) -> Vec<usize> {
        bodies.unused().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_buffer_is_lent_again_empty_once_the_last_of_its_bytes_is_gone() {
        let bodies = Bodies::default();
        let mut body = bodies.lend(100);
        body.extend([7; 100]);
        let place = body.as_ptr();
        let all = bodies.share(body);
        let part = all.slice(40..50);
        drop(all);
        assert!(kept(&bodies).is_empty());
        assert_eq!(part, [7; 10][..]);
        drop(part);
        assert_eq!(kept(&bodies), [100]);
        assert!(bodies.lend(101).capacity() > 100);
        let again = bodies.lend(90);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let bodies = Bodies::default();
        let sizes = [1, KEPT_BYTES / 2, KEPT_BYTES / 2, KEPT_BYTES + 1];
        let lent = sizes.map(|bytes| bodies.share(bodies.lend(bytes)));
        let [first, second, third, large] = lent;
        drop(first);
        drop(second);
        drop(third);
        assert_eq!(kept(&bodies), [KEPT_BYTES / 2, KEPT_BYTES / 2]);
        drop(large);
        assert!(kept(&bodies).is_empty());
    }
}
