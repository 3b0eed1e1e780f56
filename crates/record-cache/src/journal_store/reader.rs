//! The thread that reads.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use super::fetch::{Fetched, fetch, sources};
use super::index::Settled;
use super::log::lock;
use super::shared::{Request, Shared};
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;
use crate::{Amount, ReadBatch, ReadLimits, StoreError, StreamName};

/// A wish for the oldest records of a stream.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) stream: StreamName,
    pub(super) after: Option<u64>,
    pub(super) limits: ReadLimits,
    pub(super) reply: oneshot::Sender<Result<ReadBatch, StoreError>>,
}

/// Reads until the store is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    loop {
        let reads = shared.reads.next();
        if reads.is_empty() {
            return;
        }
        for read in reads {
            if !read.reply.is_closed() {
                let batch = oldest(shared, &read.stream, read.after, read.limits);
                let _ = read.reply.send(batch);
            }
        }
    }
}

fn oldest(
    shared: &Shared,
    stream: &StreamName,
    mut after: Option<u64>,
    limits: ReadLimits,
) -> Result<ReadBatch, StoreError> {
    let mut damaged = Amount::default();
    loop {
        let (entries, sources) = {
            let mut index = lock(&shared.index);
            if index.closed {
                return Err(StoreError::Closed);
            }
            damaged += index.take_unreported(stream);
            let entries = fitting(index.after(stream, after), limits);
            let sources = sources(&index, &entries);
            (entries, sources)
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
        damaged += lock(&shared.index).take_unreported(stream);
        if !records.is_empty() {
            return Ok(ReadBatch::new(records, damaged));
        }
        after = entries.last().map(|entry| entry.sequence);
    }
}

/// As many as the limits allow, and one at least.
fn fitting<'a>(entries: impl Iterator<Item = &'a Entry>, limits: ReadLimits) -> Vec<Entry> {
    let mut bytes = 0_u64;
    let mut fitting: Vec<Entry> = Vec::new();
    for entry in entries.take(limits.max_records.get()) {
        bytes = bytes.saturating_add(entry.size.into());
        if bytes > limits.max_bytes.get() && !fitting.is_empty() {
            break;
        }
        fitting.push(*entry);
    }
    fitting
}

/// Has the writer forget them, so that they are reported once, and waits for it.
fn drop_damaged(shared: &Shared, stream: &StreamName, deleted: Ranges) {
    tracing::warn!(%stream, records = deleted.count(), "damaged records are dropped");
    let lost = Settled {
        stream: stream.clone(),
        deleted,
        counted: Ranges::default(),
    };
    let (reply, done) = mpsc::channel();
    if shared.requests.push(Request::Lose { lost, reply }).is_ok() {
        // Nothing comes when the store is closed meanwhile.
        let _ = done.recv();
    }
}
