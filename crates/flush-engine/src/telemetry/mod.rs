//! What the engine logs and measures.
//!
//! Free to change, together with `docs/observability.md`: targets, messages, fields, metric names.
//! Invariant: never log a payload, a partition key, a credential or a service's message. Imports
//! only the types of `api`.

pub(crate) mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics_off.rs")]
mod metrics;

pub(crate) use self::log::GivenUp;
pub(crate) use self::metrics::Meter;
