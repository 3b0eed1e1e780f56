//! Test support for this workspace: LocalStack, self-verifying payloads, power losses, scripted
//! stores, and the loopback endpoint, which is a crate of its own.

pub mod kpl_readers;
pub mod localstack;
pub mod payload;
// Traces are read in Linux's format.
#[cfg(unix)]
pub mod power_loss;
#[cfg(feature = "stores")]
pub mod stores;

pub use amplify_test_endpoint::*;
