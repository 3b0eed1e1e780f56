//! The thread that reads.

use std::sync::{Arc, mpsc};

use super::mailbox::Refused;
use super::shared::{Read, Reply, Request, Shared};
use crate::index::ranges::Ranges;
use crate::log::catalog::{Settled, lock};
use crate::log::fetch::{Fetched, fetch, sources};
use crate::{Amount, ReadBatch, StoreError, StreamName};

/// How often an index is asked that breaks again and again.
const ATTEMPTS: u32 = 4;

/// Reads until the store is closed.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        let reads = shared.reads.next();
        if reads.is_empty() {
            return;
        }
        for (read, ticket) in reads {
            let is_wanted = shared.reads.is(&ticket, |reply| !reply.is_closed());
            let batch = is_wanted.then(|| oldest(shared, &read));
            shared.reads.sign();
            let reply = shared.reads.reply(ticket);
            if let (Some(reply), Some(batch)) = (reply, batch) {
                let _ = reply.send(batch);
            }
        }
    }
}

fn oldest(shared: &Shared, read: &Read) -> Result<ReadBatch, StoreError> {
    let Read {
        stream,
        after,
        limits,
    } = read;
    let mut after = *after;
    let mut damaged = Amount::default();
    let mut attempts = 0;
    loop {
        let found = {
            let mut catalog = lock(&shared.catalog);
            if catalog.closed {
                return Err(StoreError::Closed);
            }
            damaged += catalog.take_unreported(stream);
            let entries = catalog.after(stream, after, *limits);
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
        let wanted: Vec<_> = entries.iter().map(|entry| (stream, *entry)).collect();
        let mut records = Vec::with_capacity(entries.len());
        let mut lost = Vec::new();
        let mut asked = entries.iter();
        let take = |fetched: Option<Fetched>| {
            let Some(entry) = asked.next() else { return };
            match fetched.and_then(|fetched| fetched.into_record(entry.attempts)) {
                Some(record) => records.push(record),
                None => lost.push(entry.sequence),
            }
        };
        fetch(&wanted, &sources, &shared.buffers, take).map_err(|error| {
            let context = format!("cannot read: path={}", shared.path.display());
            StoreError::unavailable(context, error)
        })?;
        if lost.is_empty() {
            return Ok(ReadBatch::new(records, damaged));
        }
        drop_damaged(shared, stream, lost.into_iter().collect());
        damaged += lock(&shared.catalog).take_unreported(stream);
        if !records.is_empty() {
            return Ok(ReadBatch::new(records, damaged));
        }
        after = entries.last().map(|entry| entry.sequence);
    }
}

/// Has the writer forget them, so that they are reported once, and waits for it.
fn drop_damaged(shared: &Shared, stream: &StreamName, deleted: Ranges) {
    let records = deleted.count();
    tracing::warn!(target: "record_cache", %stream, records, "damaged records are dropped");
    wait_for(
        shared,
        Request::Lose(Settled::deleted(stream.clone(), deleted)),
    );
}

/// Has the writer do something. It is not done when the store is closed meanwhile, or when the
/// disk does not answer.
fn wait_for(shared: &Shared, request: Request) {
    let (reply, done) = mpsc::channel();
    if let Err(Refused::Closed(reply) | Refused::Stalled(reply)) =
        shared.requests.push(request, Reply::Internal(reply))
    {
        drop(reply);
        return;
    }
    let _ = done.recv();
}
