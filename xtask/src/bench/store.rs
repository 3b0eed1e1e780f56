//! Measures the stores alone.

pub(super) mod churn;
pub(super) mod fill;
pub(super) mod ingest;
pub(super) mod open;
pub(super) mod settle;
