//! What the engine logs and measures.
//!
//! May be touched here: targets, messages, fields, names of metrics, together with
//! `docs/observability.md`. Invariant: never a payload, a partition key, a credential or the
//! words of a service. Imports only the types of `api`.

pub(crate) mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics_off.rs")]
mod metrics;

pub(crate) use self::log::GivenUp;
pub(crate) use self::metrics::Meter;
