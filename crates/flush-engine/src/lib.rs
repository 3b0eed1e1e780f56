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

pub use self::api::{
    CacheStats, Cause, ClearCacheData, CloseOptions, DeliveredHandler, DeliveredRecord,
    DiscardHandler, DiscardReason, DiscardedRecord, EngineError, EngineOptions, Fault, FlushData,
    FlushStrategy, InvalidSetting, LimitExceeded, NoAnswer, OverflowPolicy, Receipt, RecordData,
    RecordSender, SendError, SkippedStream, StreamStats, Verdict, non_zero_bytes, non_zero_count,
    non_zero_time,
};
pub use self::engine::FlushEngine;
pub use self::lifecycle::Intake;
#[cfg(any(feature = "sled", feature = "journal"))]
pub use self::storage::Slots;
pub use self::storage::{
    DefaultDirectory, OpenStorage, Storage, StorageError, StoragePlace, StorageSettings,
};
pub use batcher::BatchLimits;
