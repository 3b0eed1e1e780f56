//! What the tests of this workspace stand on: the loopback endpoint, which is a crate of its own,
//! LocalStack, payloads that prove themselves, losses of power, stores that follow a script.

pub mod kpl_readers;
pub mod localstack;
pub mod payload;
// What it reads of traces is Linux's.
#[cfg(unix)]
pub mod power_loss;
#[cfg(feature = "stores")]
pub mod stores;

pub use amplify_test_endpoint::*;
