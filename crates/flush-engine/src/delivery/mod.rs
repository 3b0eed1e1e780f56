//! How batches reach the service.

pub(crate) mod backoff;
pub(crate) mod bisect;
pub(crate) mod charge;
pub(crate) mod history;
pub(crate) mod pass;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod request;
pub(crate) mod signals;
