//! Opening a store.

use tokio::sync::{mpsc, oneshot};
use wasm_bindgen_futures::spawn_local;

use super::actor::Actor;
use super::database::Database;
use super::{IndexedDbStore, slots};
use crate::{Durability, StoreError};

/// Opens an [`IndexedDbStore`]; created by [`IndexedDbStore::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct IndexedDbStoreBuilder {
    name: String,
    durability: Durability,
    several: bool,
}

impl IndexedDbStoreBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "record-cache".to_owned(),
            durability: Durability::default(),
            several: false,
        }
    }

    /// The name of the database within this site. Default: `record-cache`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What a record survives; [`Durability::PowerLoss`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Lets several tabs use the database at the same time, each with its own records.
    ///
    /// The store takes the first free slot of the database. While opening, it takes over the
    /// records of slots that no one holds, in order: those of closed tabs. Records that cannot be
    /// moved, for lack of space for example, stay for a later open. A tab on its own finds its
    /// own records.
    ///
    /// Without this, the database has one user at a time.
    pub fn slots(mut self) -> Self {
        self.several = true;
        self
    }

    /// Opens the database, creating it if needed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another tab, worker or store holds the database;
    /// [`StoreError::Refused`] when the browser does not let this page store anything;
    /// [`StoreError::Incompatible`] when the database has a newer version or is not a record cache;
    /// [`StoreError::Unavailable`] when it cannot be opened or read, or when another tab does not
    /// close a different version of it within 10 seconds.
    ///
    /// # Cancel safety
    /// The database is released shortly afterwards.
    pub async fn open(self) -> Result<IndexedDbStore, StoreError> {
        let (opened, result) = oneshot::channel();
        spawn_local(async move {
            match self.start().await {
                Ok((store, actor, calls)) => {
                    // If nobody receives the store, dropping it ends the actor.
                    let _ = opened.send(Ok(store));
                    actor.run(calls).await;
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        let stopped = || StoreError::unavailable_because("opening the database");
        result.await.map_err(|_| stopped())?
    }

    async fn start(
        self,
    ) -> Result<
        (
            IndexedDbStore,
            Actor,
            mpsc::UnboundedReceiver<super::actor::Call>,
        ),
        StoreError,
    > {
        let Self {
            name,
            durability,
            several,
        } = self;
        let (slot, lock) = slots::take(&name, several).await?;
        let database = Database::open(&name).await?;
        let damaged = match several {
            true => slots::adopt(&database, &name, slot).await?,
            false => 0,
        };
        let actor = Actor::start(name.clone(), slot, durability, lock, database).await?;
        actor.counters().damaged_before(damaged);
        let (sender, calls) = mpsc::unbounded_channel();
        let store = IndexedDbStore::new(name, slot, actor.counters(), sender);
        Ok((store, actor, calls))
    }
}
