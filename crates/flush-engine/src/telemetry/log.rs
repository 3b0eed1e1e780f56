//! The name under which the engine logs, and what several of its parts log. Messages and
//! fields are written down in `docs/observability.md`.

use record_cache::{Amount, Record, StreamName};
use tracing::Span;

use crate::api::{EngineError, FlushData};

/// Stream names, codes, counts and sizes only: never a payload, a key, a credential
/// or what a service said.
pub(crate) const TARGET: &str = "flush_engine";

/// Around a flush pass.
pub(crate) fn pass() -> Span {
    tracing::debug_span!(target: TARGET, "pass")
}

/// Around a request.
pub(crate) fn request(stream: &StreamName, batch: &[Record]) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "request",
        stream = %stream,
        records = batch.len(),
        bytes = batch.iter().map(Record::size).sum::<u64>(),
    )
}

/// Tells what a pass did.
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

/// Tells of records that a store dropped because they could not be read back whole.
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
