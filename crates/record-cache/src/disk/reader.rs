//! The reader thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::shared::{Read, Request, Shared};
use crate::index::Entry;
use crate::log::buffers::KEPT_FOR;
use crate::log::catalog::lock;
use crate::log::fetch::{Fetched, fetch, sources};
use crate::{ReadBatch, RecordId, Settlement, StoreError};

/// Number of attempts with an index that keeps breaking.
const ATTEMPTS: u32 = 4;

/// Reads until the store is closed.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        let reads = shared.reads.next_within(KEPT_FOR).unwrap_or_else(|| {
            shared.buffers.release();
            shared.reads.next()
        });
        if reads.is_empty() {
            shared.buffers.release();
            return;
        }
        for (read, ticket) in reads {
            let batch = oldest(shared, &read);
            shared.reads.sign();
            if let Some(untold) = shared.reads.offer(ticket, batch) {
                // The next read reports what this one could not.
                lock(&shared.counters).owe(&read.stream, untold.damaged);
            }
        }
    }
}

fn oldest(shared: &Shared, read: &Read) -> Result<ReadBatch, StoreError> {
    let (stream, mut after) = (&read.stream, read.after);
    let mut attempts = 0;
    // Losses are taken only once nothing can fail any more.
    let reported = |records| ReadBatch::new(records, lock(&shared.counters).report(stream));
    loop {
        let found = {
            let mut catalog = lock(&shared.catalog);
            if catalog.closed {
                return Err(StoreError::Closed);
            }
            let entries = catalog.ask(|index| index.after(stream, after, read.limits));
            entries.map(|entries| {
                let sources = sources(&catalog, &entries);
                (entries, sources)
            })
        };
        let (entries, sources) = match found {
            Ok(found) => found,
            Err(broken) if attempts == ATTEMPTS => {
                return Err(StoreError::unavailable("the index is broken", broken.0));
            }
            Err(_) => {
                attempts += 1;
                wait_for(shared, Request::Mend);
                continue;
            }
        };
        let wanted: Vec<_> = entries.into_iter().map(|entry| (stream, entry)).collect();
        let mut records = Vec::with_capacity(wanted.len());
        let mut lost = Vec::new();
        let take = |(_, entry): &(_, Entry), fetched: Option<Fetched>| {
            let record = fetched.and_then(|fetched| fetched.into_record(entry.attempts));
            match record {
                Some(record) => records.push(record),
                None => lost.push(RecordId::new(entry.sequence)),
            }
        };
        fetch(&wanted, &sources, &shared.buffers, take).map_err(|error| {
            let context = format!("cannot read: path={}", shared.path.display());
            StoreError::unavailable(context, error)
        })?;
        if lost.is_empty() {
            return Ok(reported(records));
        }
        tracing::warn!(target: "record_cache", %stream, records = lost.len(), "damaged records are dropped");
        // The writer drops damaged records, so they are reported only once.
        let lost = Settlement::new(stream.clone()).delete(lost);
        wait_for(shared, Request::Lose(lost));
        if !records.is_empty() {
            return Ok(reported(records));
        }
        after = wanted.last().map(|(_, entry)| entry.sequence);
    }
}

/// Sends a request to the writer and waits. Returns without effect if the store is closed or the
/// disk does not respond.
fn wait_for(shared: &Shared, request: Request) {
    let (reply, done) = oneshot::channel();
    // If the request is refused, the reply handle is dropped, and this returns immediately.
    let _ = shared.requests.push(request, reply);
    let _ = done.blocking_recv();
}
