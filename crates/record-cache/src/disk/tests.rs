//! Tests on a simulated disk that fails, or loses unsynced data.

mod broken;
mod checkpoints;
mod combined;
#[cfg(unix)]
mod deleted;
mod faults;
mod history;
mod losses;
mod outline;
mod overlap;
mod overlap_crashes;
mod power_loss;
mod settling;
mod sharing;
mod sim;
mod slow;
mod staging;
mod stalls;
mod stranded;

use super::Request;
use crate::log::group::Prepared;
use crate::{Amount, Settlement, StoreError};

/// The calls of a store, without a public store type around it.
impl super::Store {
    pub(crate) async fn append(&self, records: Vec<crate::NewRecord>) -> Result<(), StoreError> {
        let request = Request::Append(Prepared::new(records));
        self.ask(request).await.map(drop)
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.ask(Request::Settle(settlement)).await
    }

    pub(crate) async fn clear(&self) -> Result<Amount, StoreError> {
        self.ask(Request::Clear).await
    }
}
