#![doc = include_str!("../README.md")]

mod api;
mod cache;
mod delivery;
mod engine;
mod lifecycle;
mod schedule;
mod storage;
mod telemetry;

mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

#[cfg(feature = "aws")]
pub mod aws;

pub use self::api::error::{EngineError, LimitExceeded};
pub use self::api::options::{CloseOptions, EngineOptions, FlushStrategy, OverflowPolicy};
pub use self::api::outcome::{Fault, judge};
pub use self::api::report::{
    CacheStats, ClearCacheData, FlushData, RecordData, SkippedStream, StreamStats,
};
pub use self::api::sender::{RecordSender, SendError, Verdict};
pub use self::api::settings::{InvalidSetting, non_zero_bytes, non_zero_count, non_zero_time};
pub use self::cache::discard::{DiscardHandler, DiscardReason, DiscardedRecord};
pub use self::engine::{FlushEngine, Intake};
pub use self::storage::directories::{OpenStorage, Storage, StorageError, StorageSettings};
#[cfg(feature = "sled")]
pub use self::storage::slots::Slots;
pub use batcher::BatchLimits;
