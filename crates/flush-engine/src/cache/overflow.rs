//! Recording when the oldest records make room for new ones.

use std::sync::Arc;

use record_cache::{Amount, NewRecord};
use tokio::sync::{Mutex, watch};

use crate::cache::evict::{self, Heads};
use crate::lifecycle::inner::Inner;
use crate::{EngineError, LimitExceeded};

/// Who takes room in the cache, one after the other.
#[derive(Debug)]
pub(crate) struct Overflow {
    /// Held while room is taken, so that what was made for one is not taken by another.
    turn: Mutex<Heads>,
    /// Calls whose records have room but are not stored yet, and so cannot be dropped either.
    storing: watch::Sender<usize>,
}

impl Default for Overflow {
    fn default() -> Self {
        Self {
            turn: Mutex::default(),
            storing: watch::Sender::new(0),
        }
    }
}

/// Stores records of this size, after the oldest were dropped if there was no room.
///
/// To be run to the end: others wait for it.
pub(crate) async fn record(
    inner: Arc<Inner>,
    records: Vec<NewRecord>,
    size: Amount,
) -> Result<(), EngineError> {
    let _storing = admit(&inner, size).await?;
    let appended = inner.append(records, size).await;
    appended.map_err(EngineError::storage)
}

async fn admit(inner: &Arc<Inner>, size: Amount) -> Result<Storing, EngineError> {
    let overflow = &inner.overflow;
    let mut heads = overflow.turn.lock().await;
    loop {
        if inner.closing.is_cancelled() {
            return Err(EngineError::Closed);
        }
        let mut storing = overflow.storing.subscribe();
        let others_are_storing = *storing.borrow_and_update() > 0;
        let full = match inner.admission.reserve(size) {
            Ok(()) => return Ok(Storing::begin(Arc::clone(inner))),
            Err(full @ LimitExceeded::Full { .. }) => full,
            Err(refused @ LimitExceeded::NeverFits { .. }) => return Err(refused.into()),
        };
        if evict::make_room(inner, &mut heads, size).await? {
            continue;
        }
        if !others_are_storing {
            return Err(full.into());
        }
        // Never fails: the sending side is in `inner`.
        drop(storing.changed().await);
    }
}

/// One call that stores, from taking room to the end.
struct Storing(Arc<Inner>);

impl Storing {
    fn begin(inner: Arc<Inner>) -> Self {
        inner.overflow.storing.send_modify(|calls| *calls += 1);
        Self(inner)
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.overflow.storing.send_modify(|calls| *calls -= 1);
    }
}
