//! Tracks records in flight, so none is dropped while it is being sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record_cache::{RecordId, StreamName};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The records in requests. Only the claimant decides about a claimed record.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Held for reading while records are read and claimed, and for writing while records to drop
    /// are chosen and dropped. Locked before `clears`.
    choice: RwLock<()>,
    /// The last record of each claim, by stream.
    last: Mutex<HashMap<StreamName, Vec<RecordId>>>,
}

impl InFlight {
    /// No unclaimed record is dropped while this guard is held.
    pub(super) async fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.choice.read().await
    }

    /// No records are read for claiming while this guard is held.
    pub(super) async fn choosing(&self) -> RwLockWriteGuard<'_, ()> {
        self.choice.write().await
    }

    /// Claims a stream's records up to this one, until the claim is dropped. The caller must hold
    /// [`reading`](Self::reading).
    pub(super) fn claim(self: &Arc<Self>, stream: &StreamName, last: RecordId) -> Claim {
        let mut claimed = self.claimed();
        claimed.entry(stream.clone()).or_default().push(last);
        Claim {
            all: Arc::clone(self),
            stream: stream.clone(),
            last,
        }
    }

    /// The last claimed record of a stream, if any.
    pub(super) fn last(&self, stream: &StreamName) -> Option<RecordId> {
        self.claimed().get(stream)?.iter().max().copied()
    }

    fn claimed(&self) -> MutexGuard<'_, HashMap<StreamName, Vec<RecordId>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim on the records of one request.
#[derive(Debug)]
pub(crate) struct Claim {
    all: Arc<InFlight>,
    stream: StreamName,
    last: RecordId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.all.claimed();
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
        let in_flight = Arc::new(InFlight::default());
        let stream = StreamName::new("a").unwrap();
        let first = in_flight.claim(&stream, RecordId::new(4));
        let second = in_flight.claim(&stream, RecordId::new(9));
        let third = in_flight.claim(&stream, RecordId::new(9));
        assert_eq!(in_flight.last(&stream), Some(RecordId::new(9)));
        assert_eq!(in_flight.last(&StreamName::new("b").unwrap()), None);
        drop(second);
        assert_eq!(in_flight.last(&stream), Some(RecordId::new(9)));
        drop(third);
        assert_eq!(in_flight.last(&stream), Some(RecordId::new(4)));
        drop(first);
        assert_eq!(in_flight.last(&stream), None);
        assert!(in_flight.claimed().is_empty());
    }
}
