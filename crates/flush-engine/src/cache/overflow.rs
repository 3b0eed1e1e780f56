//! Recording when the oldest records make room for new ones.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::api::{EngineError, LimitExceeded};
use crate::cache::Cache;
use crate::cache::evict::KnownOldest;
use crate::cache::incoming::Incoming;

/// Those who take room in a full cache, one after the other.
#[derive(Debug)]
pub(super) struct Line {
    /// Held while room is taken, so that what was made for one is not taken by another.
    turn: Mutex<KnownOldest>,
    /// Calls whose records have room but are not stored yet, and so cannot be dropped either.
    storing: watch::Sender<usize>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            turn: Mutex::default(),
            storing: watch::Sender::new(0),
        }
    }
}

impl Cache {
    /// Takes room for records, after the oldest were dropped if there was none.
    ///
    /// To be run to the end: others wait for it.
    pub(super) async fn make_room(
        self: &Arc<Self>,
        incoming: &Incoming,
    ) -> Result<Storing, EngineError> {
        let mut oldest = self.line.turn.lock().await;
        loop {
            if self.lifecycle.is_closing() {
                return Err(EngineError::Closed);
            }
            let mut storing = self.line.storing.subscribe();
            let others_are_storing = *storing.borrow_and_update() > 0;
            let full = match self.admission.reserve(incoming) {
                Ok(()) => return Ok(Storing::begin(Arc::clone(self))),
                Err(full @ LimitExceeded::Full { .. }) => full,
                Err(refused @ LimitExceeded::NeverFits { .. }) => return Err(refused.into()),
            };
            if self.evict(&mut oldest, incoming.amount).await? {
                continue;
            }
            if !others_are_storing {
                return Err(full.into());
            }
            // Never fails: the sending side is in `self`.
            drop(storing.changed().await);
        }
    }
}

/// One call that stores, from taking room to the end.
#[derive(Debug)]
pub(super) struct Storing(Arc<Cache>);

impl Storing {
    fn begin(cache: Arc<Cache>) -> Self {
        cache.line.storing.send_modify(|calls| *calls += 1);
        Self(cache)
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.line.storing.send_modify(|calls| *calls -= 1);
    }
}
