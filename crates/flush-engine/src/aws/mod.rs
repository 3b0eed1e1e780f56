//! The common parts of clients for AWS services.
//!
//! A client crate implements [`Service`] once and wraps [`ClientBuilder`], [`Client`] and
//! [`Stream`] in its own types. Macros define them, and its options and its error:
//!
//! | macro | what it generates |
//! |---|---|
//! | [`aws_client!`](crate::aws_client) | the type of the client |
//! | [`aws_create!`](crate::aws_create), [`aws_record_all!`](crate::aws_record_all), [`aws_sdk_getter!`](crate::aws_sdk_getter) | the methods of the client that name its other types |
//! | [`aws_client_methods!`](crate::aws_client_methods) | the other methods of the client |
//! | [`aws_builder!`](crate::aws_builder) | the builder, with all its methods |
//! | [`aws_stream!`](crate::aws_stream) | the type of a stream's handle |
//! | [`aws_options!`](crate::aws_options) | the options |
//! | [`aws_error!`](crate::aws_error) | the error |
//!
//! The crate writes the methods with service-specific arguments itself.
//!
//! A record's path: the client checks it against [`ServiceLimits`] and hands it to the engine. The
//! engine hands batches to a sender, which calls [`Service::put`] and sanitizes the service's
//! messages before anyone sees them. With a [`Grouping`], the sender also packs events into
//! records. [`judge`] classifies errors that concern a whole request.

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
