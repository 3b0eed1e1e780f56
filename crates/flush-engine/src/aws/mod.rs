//! The common parts of clients for AWS services.
//!
//! A client crate implements [`Service`] once and wraps [`ClientBuilder`], [`Client`] and
//! [`Stream`] in its own types. Macros define them, and its options and its error:
//!
//! | macro | what it generates |
//! |---|---|
//! | [`aws_sdk_client!`](crate::aws_sdk_client) | in an implementation of [`Service`]: the type of the SDK client, how to read its configuration, how to build it |
//! | [`aws_client!`](crate::aws_client) | the type of the client, without methods |
//! | [`aws_create!`](crate::aws_create) | its `create` and `builder` |
//! | [`aws_record_all!`](crate::aws_record_all) | its `record_all` |
//! | [`aws_sdk_getter!`](crate::aws_sdk_getter) | its method that returns the SDK client |
//! | [`aws_client_methods!`](crate::aws_client_methods) | its `flush`, `drain`, `clear_cache`, `enable`, `disable`, `is_enabled`, `is_closed`, `close`, `close_with`, `region`, `options`, `storage_path`, `storage`, `cache_stats` |
//! | [`aws_builder!`](crate::aws_builder) | the builder: the type and all its methods |
//! | [`aws_stream!`](crate::aws_stream) | the type of a stream's handle, without methods |
//! | [`aws_options!`](crate::aws_options) | the options: the type, its setters, its default, conversions from and to [`ClientOptions`] |
//! | [`aws_error!`](crate::aws_error) | the error: the type, its methods, the conversion from [`ClientError`] |
//!
//! The crate writes the other methods itself: `record`, `record_blocking` and `stream` of the
//! client, and those of the handle.
//!
//! # What a crate needs to call the macros
//!
//! - Dependencies: this crate with the feature `aws`, `record-cache`, the SDK's crate for the
//!   service, and `thiserror`.
//! - A feature `journal` that enables `flush-engine/journal`. It adds `journal` and `in_journal` to
//!   the builder.
//! - For the examples in the generated documentation, dev-dependencies: `amplify-test-support`,
//!   `aws-config` (features `default-https-client`, `rt-tokio`), `aws-credential-types` (feature
//!   `hardcoded-credentials`), `tempfile` and `tokio` (features `rt-multi-thread`, `macros`). The
//!   endpoint of `amplify-test-support` must know the service.
//! - At the crate's root, because the documentation links to them: the client, [`FlushData`],
//!   [`FlushStrategy`], `JournalStore` (with `journal`) and a module `guide` with the heading "What
//!   counts as an attempt".
//! - At the root too, because the examples import them: the options, the error, the record,
//!   [`CloseOptions`], [`Durability`], `MemoryStore`, [`NoAnswer`], [`OverflowPolicy`],
//!   [`RecordStore`] and [`StoragePlace`].
//! - Methods of the client that the documentation links to: `record` and `stream`.
//!
//! [`FlushData`]: crate::FlushData
//! [`FlushStrategy`]: crate::FlushStrategy
//! [`CloseOptions`]: crate::CloseOptions
//! [`NoAnswer`]: crate::NoAnswer
//! [`OverflowPolicy`]: crate::OverflowPolicy
//! [`StoragePlace`]: crate::StoragePlace
//!
//! # A record's path
//!
//! The client checks a record against [`ServiceLimits`] and hands it to the engine. The engine
//! hands batches to a sender, which calls [`Service::put`] and sanitizes the service's messages
//! before anyone sees them. With a [`Grouping`], the sender also packs events into records.
//! [`judge`] classifies errors that concern a whole request.

mod arn;
mod body;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub mod browser;
mod builder;
mod client;
mod connection;
mod connections;
mod credentials;
mod endpoint;
mod error;
mod front;
mod grouping;
mod judge;
mod options;
mod partition_key;
mod payload;
mod record;
mod sdk_error;
mod sender;
mod service;
mod shards;
#[cfg(test)]
mod test_service;
mod text;
mod user_agent;
pub mod wire;

pub use self::builder::ClientBuilder;
pub use self::client::{Client, Stream};
pub use self::connection::{Connection, Given};
pub use self::error::ClientError;
pub use self::grouping::Grouping;
pub use self::judge::judge;
pub use self::options::ClientOptions;
pub use self::partition_key::PartitionKey;
pub use self::payload::IntoPayload;
pub use self::record::UncheckedRecord;
pub use self::sdk_error::{outcome, send_error};
pub use self::service::{Base, Service, ServiceLimits};
#[doc(no_inline)]
pub use aggregation;
#[doc(no_inline)]
pub use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
#[doc(no_inline)]
pub use aws_types::SdkConfig;
#[doc(no_inline)]
pub use record_cache::{Durability, RecordStore};
