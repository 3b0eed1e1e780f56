//! What fails around a client: the service and the way to it, the machine, the store.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod field;
mod quiet;
mod service;
mod storage;
