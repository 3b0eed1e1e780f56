//! The name under which the engine logs.

use record_cache::{Removed, StreamName};

/// Stream names, codes, counts and sizes only: never a payload, a key, a credential
/// or what a service said.
pub(crate) const TARGET: &str = "flush_engine";

/// Tells of records that a store dropped because they could not be read back whole.
pub(crate) fn damage(stream: &StreamName, lost: Removed) {
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
