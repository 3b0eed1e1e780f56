//! The types that the owner of an engine uses: settings, errors, reports, the sender.
//!
//! Types and pure functions only. May be touched here: names, defaults, texts of errors. Not
//! here: anything that waits, logs or keeps state. Imports no other room.

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
