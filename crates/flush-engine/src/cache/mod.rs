//! What is cached, and who may decide on it.

pub(crate) mod admission;
pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod clock;
pub(crate) mod discard;
pub(crate) mod evict;
pub(crate) mod expiry;
pub(crate) mod in_flight;
pub(crate) mod overflow;
