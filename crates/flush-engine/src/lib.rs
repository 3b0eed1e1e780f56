#![doc = include_str!("../README.md")]

mod adaptive;
mod admission;
mod arrivals;
mod batch;
mod bisect;
mod claims;
mod clock;
mod closing;
mod completing;
mod delivery;
mod discard;
mod drain;
mod engine;
mod error;
mod evict;
mod expiry;
mod inner;
mod lane;
#[cfg_attr(not(feature = "metrics"), path = "meter_off.rs")]
mod meter;
mod options;
mod orders;
mod outcome;
mod overflow;
mod pace;
mod pass;
mod report;
mod retry;
mod scheduler;
mod sender;
mod settings;
mod signals;
#[cfg(feature = "sled")]
mod slots;
mod storage;
mod stream_state;
mod trace;

mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

#[cfg(feature = "aws")]
pub mod aws;

pub use self::discard::{DiscardHandler, DiscardReason, DiscardedRecord};
pub use self::engine::{FlushEngine, Intake};
pub use self::error::{EngineError, LimitExceeded};
pub use self::options::{CloseOptions, EngineOptions, FlushStrategy, OverflowPolicy};
pub use self::outcome::{Cause, Fault, NoAnswer};
pub use self::report::{
    CacheStats, ClearCacheData, FlushData, RecordData, SkippedStream, StreamStats,
};
pub use self::sender::{RecordSender, SendError, Verdict};
pub use self::settings::{InvalidSetting, non_zero_bytes, non_zero_count, non_zero_time};
#[cfg(feature = "sled")]
pub use self::slots::Slots;
pub use self::storage::{DefaultDirectory, OpenStorage, Storage, StorageError, StorageSettings};
pub use batcher::BatchLimits;
