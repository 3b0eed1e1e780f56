//! A loopback endpoint on the wire protocol of Kinesis `PutRecords` and Firehose
//! `PutRecordBatch`, with scripted faults, for tests, demos and benches.
//!
//! [`FakeAws`] is an HTTP/1.1 server of its own thread and runtime, so it serves
//! synchronous code as well as any test runtime. It enforces the services' limits,
//! keeps what it took in, and fails on demand in every way that a [`Reply`] names.

mod clock;
mod fake_aws;
pub mod kpl_readers;
pub mod localstack;
mod names;
pub mod payload;
pub mod power_loss;
#[cfg(feature = "stores")]
pub mod stores;

pub use self::fake_aws::{
    CodeIn, FakeAws, FakeAwsBuilder, Outcome, PutRecord, PutRequest, RecordMatcher, Refusal, Reply,
    RequestLog, Service, WaitTimeout,
};
pub use self::names::unique_name;
