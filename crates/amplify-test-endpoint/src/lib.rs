#![doc = include_str!("../README.md")]

mod clock;
mod fake_aws;
mod names;

pub use self::fake_aws::{
    CodeIn, FakeAws, FakeAwsBuilder, Outcome, PutRecord, PutRequest, RecordMatcher, Refusal, Reply,
    RequestLog, Service, WaitTimeout,
};
pub use self::names::unique_name;
/// A shard, for [`FakeAws::set_shards`].
#[doc(no_inline)]
pub use aggregation::Shard;
