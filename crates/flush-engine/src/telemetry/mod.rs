//! What is logged and measured.

pub(crate) mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics_off.rs")]
pub(crate) mod metrics;
