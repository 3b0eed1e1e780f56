#![doc = include_str!("../README.md")]

mod client;
mod delivered;
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
pub mod limits;
mod options;
mod record;
mod service;
mod stream;

#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub use flush_engine::aws::browser;

pub use self::client::{AmplifyFirehoseClient, AmplifyFirehoseClientBuilder, AmplifyFirehoseError};
pub use self::delivered::DeliveredRecord;
pub use self::options::{Aggregation, AmplifyFirehoseClientOptions};
pub use self::record::FirehoseRecord;
pub use self::stream::FirehoseStream;

pub use aggregation::{self, Compression, Concatenation};
pub use aws_credential_types::provider::ProvideCredentials;
pub use aws_sdk_firehose;
pub use aws_types::SdkConfig;
pub use bytes::Bytes;
pub use flush_engine::aws::IntoPayload;
pub use flush_engine::aws::wire::WireFormat;
pub use flush_engine::{
    CacheStats, ClearCacheData, CloseOptions, DiscardReason, DiscardedRecord, FlushData,
    FlushStrategy, NoAnswer, OverflowPolicy, RecordData, SkippedStream, StoragePlace, StreamStats,
};
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub use record_cache::IndexedDbStore;
#[cfg(feature = "journal")]
pub use record_cache::JournalStore;
#[cfg(feature = "sled")]
pub use record_cache::SledStore;
pub use record_cache::{self, Durability, MemoryStore, RecordStore};
