//! Faults around a client: in the service, the network, the machine and the store.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod damage;
mod field;
mod quiet;
mod service;
mod storage;
