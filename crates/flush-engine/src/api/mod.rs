//! The engine's public types: settings, errors, reports and the sender trait.
//!
//! Types and pure functions only; nothing here waits, logs or keeps state. Free to change: names,
//! defaults, error messages. Imports no other module of the crate.

mod delivered;
mod discard;
mod error;
mod options;
mod outcome;
mod report;
mod sender;
mod settings;

pub use self::delivered::{DeliveredHandler, DeliveredRecord};
pub use self::discard::{DiscardHandler, DiscardReason, DiscardedRecord};
pub use self::error::{EngineError, LimitExceeded};
pub use self::options::{CloseOptions, EngineOptions, FlushStrategy, OverflowPolicy};
pub use self::outcome::{Cause, Fault, NoAnswer};
pub use self::report::{
    CacheStats, ClearCacheData, FlushData, RecordData, SkippedStream, StreamStats,
};
pub use self::sender::{Receipt, RecordSender, SendError, Verdict};
pub use self::settings::{InvalidSetting, non_zero_bytes, non_zero_count, non_zero_time};
