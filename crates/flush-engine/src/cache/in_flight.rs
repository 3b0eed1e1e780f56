//! Who decides on which records, while passes send some and others make room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record_cache::{RecordId, StreamName};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The records that requests are made of. What is claimed is decided on by its claimant alone.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Held for reading while records are read and claimed, and for writing while others
    /// are chosen and dropped. Taken before the lock on clears.
    choice: RwLock<()>,
    /// The last record of each claim, by stream.
    last: Mutex<HashMap<StreamName, Vec<RecordId>>>,
}

impl Claims {
    /// While this is held, no record is dropped that nobody has claimed.
    pub(crate) async fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.choice.read().await
    }

    /// While this is held, nobody reads records to claim them.
    pub(crate) async fn choosing(&self) -> RwLockWriteGuard<'_, ()> {
        self.choice.write().await
    }

    /// Claims the records of a stream up to this one, until the claim is dropped. To be
    /// called while [`reading`](Self::reading) is held.
    pub(crate) fn claim(self: &Arc<Self>, stream: &StreamName, last: RecordId) -> Claim {
        let mut claimed = self.claimed();
        claimed.entry(stream.clone()).or_default().push(last);
        Claim {
            claims: Arc::clone(self),
            stream: stream.clone(),
            last,
        }
    }

    /// The last record of a stream that is claimed, if any is.
    pub(crate) fn last(&self, stream: &StreamName) -> Option<RecordId> {
        self.claimed().get(stream)?.iter().max().copied()
    }

    fn claimed(&self) -> MutexGuard<'_, HashMap<StreamName, Vec<RecordId>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records that a request is made of.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    stream: StreamName,
    last: RecordId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.claimed();
        if let Some(of_stream) = claimed.get_mut(&self.stream) {
            if let Some(at) = of_stream.iter().position(|&last| last == self.last) {
                of_stream.swap_remove(at);
            }
            if of_stream.is_empty() {
                claimed.remove(&self.stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_one_stream_end_one_by_one() {
        let claims = Arc::new(Claims::default());
        let stream = StreamName::new("a").unwrap();
        let first = claims.claim(&stream, RecordId::new(4));
        let second = claims.claim(&stream, RecordId::new(9));
        let third = claims.claim(&stream, RecordId::new(9));
        assert_eq!(claims.last(&stream), Some(RecordId::new(9)));
        assert_eq!(claims.last(&StreamName::new("b").unwrap()), None);
        drop(second);
        assert_eq!(claims.last(&stream), Some(RecordId::new(9)));
        drop(third);
        assert_eq!(claims.last(&stream), Some(RecordId::new(4)));
        drop(first);
        assert_eq!(claims.last(&stream), None);
        assert!(claims.claimed().is_empty());
    }
}
