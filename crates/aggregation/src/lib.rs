#![doc = include_str!("../README.md")]

mod concatenate;
mod event;
#[cfg(feature = "gzip")]
pub mod gzip;
pub mod kpl;
mod plan;
mod shards;

pub use self::concatenate::{Compression, Concatenation};
pub use self::event::{Event, hash_key};
pub use self::kpl::KplLimits;
pub use self::plan::{Method, Route, WireRecord, aggregate};
pub use self::shards::{Overlap, Shard, ShardMap};
