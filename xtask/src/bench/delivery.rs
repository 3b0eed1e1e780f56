//! Measures delivery against the bare SDK.

pub(super) mod bare;
pub(super) mod client;
pub(super) mod cost;
pub(super) mod drain;
pub(super) mod endpoint;
pub(super) mod flow;
pub(super) mod pass;
mod source;
