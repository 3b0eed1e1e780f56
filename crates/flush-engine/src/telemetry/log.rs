//! The engine's log target, and messages shared by several of its parts. `docs/observability.md`
//! lists messages and fields.

use std::collections::BTreeSet;

use record_cache::{Amount, Record, StreamName};
use tracing::Span;

use crate::api::{EngineError, FlushData};

/// Logs hold only stream names, codes, counts and sizes, never a payload, a key, a credential or a
/// message from the service.
pub(crate) const TARGET: &str = "flush_engine";

/// The span of a flush pass.
pub(crate) fn pass() -> Span {
    tracing::debug_span!(target: TARGET, "pass")
}

/// The span of a request.
pub(crate) fn request(stream: &StreamName, batch: &[Record]) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "request",
        stream = %stream,
        records = batch.len(),
        bytes = batch.iter().map(Record::size).sum::<u64>(),
    )
}

/// Logs the result of a pass.
pub(crate) fn pass_ended(done: &FlushData, error: Option<&EngineError>) {
    let outcome = error.map_or("ok", EngineError::kind);
    tracing::debug!(
        target: TARGET,
        outcome,
        flushed = done.records_flushed,
        retried = done.records_retried,
        discarded = done.records_discarded,
        skipped = done.skipped_streams.len(),
        "a pass ended"
    );
}

/// Logs that a client was opened, where its cache is, and what is cached.
#[cfg(feature = "aws")]
pub(crate) fn opened(
    client: &str,
    region: &str,
    storage: &str,
    path: Option<&std::path::Path>,
    held: Amount,
) {
    tracing::info!(
        target: TARGET,
        client,
        region,
        storage,
        path = path.map(|path| tracing::field::display(path.display())),
        records = held.records,
        bytes = held.bytes,
        "the client is open"
    );
}

/// Logs that deliveries of a stream, which had worked, now fail.
pub(crate) fn deliveries_fail(stream: &StreamName, reason: &str) {
    tracing::info!(target: TARGET, stream = %stream, reason, "deliveries of a stream fail");
}

/// Logs that deliveries of a stream work again.
pub(crate) fn deliveries_work_again(stream: &StreamName, delivered: usize) {
    tracing::info!(
        target: TARGET,
        stream = %stream,
        records = delivered,
        "deliveries of a stream work again"
    );
}

/// Records of one batch that were discarded because their retries are exhausted.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    pub(crate) amount: Amount,
    /// The codes of their last refusals.
    pub(crate) codes: BTreeSet<String>,
}

impl GivenUp {
    pub(crate) fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.codes.extend(other.codes);
    }
}

/// Logs records that were discarded and deleted.
pub(crate) fn given_up(stream: &StreamName, given_up: &GivenUp) {
    /// No more codes than this are listed per batch.
    const MOST_CODES: usize = 8;
    if given_up.amount.records > 0 {
        let codes = given_up.codes.iter().take(MOST_CODES).map(String::as_str);
        let codes: Vec<_> = codes.collect();
        tracing::error!(
            target: TARGET,
            stream = %stream,
            records = given_up.amount.records,
            bytes = given_up.amount.bytes,
            codes = codes.join(","),
            "records were discarded: their retries are exhausted"
        );
    }
}

/// Logs damaged records that a store dropped.
pub(crate) fn damage(stream: &StreamName, lost: Amount) {
    if lost.records > 0 {
        tracing::error!(
            target: TARGET,
            stream = %stream,
            records = lost.records,
            bytes = lost.bytes,
            "damaged records were dropped from the cache"
        );
    }
}
