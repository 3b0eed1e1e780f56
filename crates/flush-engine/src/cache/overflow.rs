//! Recording into a full cache: either the oldest records are dropped, or the new ones wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::api::{EngineError, LimitExceeded};
use crate::cache::Cache;
use crate::cache::admission::Place;
use crate::cache::evict::KnownOldest;
use crate::cache::incoming::Incoming;
use crate::lifecycle::runtime::timeout;

/// Serializes callers that drop records to take their room.
#[derive(Debug)]
pub(super) struct Line {
    /// Held while room is taken, so no other caller takes room made for this one.
    turn: Mutex<KnownOldest>,
    /// Calls that have room but have not stored their records yet. Those cannot be dropped either.
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
    /// Takes room for records, dropping the oldest ones first if there is none.
    ///
    /// Must run to completion: others wait for it.
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
                Err(full) if full.may_pass() => full,
                Err(never) => return Err(never.into()),
            };
            if self.evict(&mut oldest, incoming).await? {
                continue;
            }
            if !others_are_storing {
                return Err(full.into());
            }
            // Never fails: the sender is in `self`.
            drop(storing.changed().await);
        }
    }

    /// Joins the line for room.
    pub(super) fn join_line(
        self: &Arc<Self>,
        incoming: &Incoming,
    ) -> Result<InLine, LimitExceeded> {
        Ok(InLine {
            place: Some(self.admission.join(incoming)?),
            cache: Arc::clone(self),
        })
    }
}

/// A call waiting for room. Dropping it leaves the line and gives back any room granted.
#[derive(Debug)]
pub(super) struct InLine {
    place: Option<Place>,
    cache: Arc<Cache>,
}

impl InLine {
    /// Waits for room, at most this long, and stops when the engine closes. On success, the room is
    /// taken.
    pub(super) async fn room(mut self, at_most: Duration) -> Result<(), EngineError> {
        let Some(place) = &mut self.place else {
            return Ok(());
        };
        let in_time = tokio::select! {
            biased;
            () = self.cache.lifecycle.closing() => return Err(EngineError::Closed),
            in_time = timeout(at_most, place.granted()) => in_time,
        };
        if in_time.is_err() {
            let left = self.cache.admission.leave(place);
            // Leaves the line, unless room was granted just before.
            self.place = None;
            return Ok(left?);
        }
        self.place = None;
        Ok(())
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let admission = &self.cache.admission;
        if let Some(place) = &self.place
            && admission.leave(place).is_ok()
        {
            admission.abandon(place);
        }
    }
}

/// One call that stores records, from taking room to the end.
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
