//! The common parts of clients for AWS services.
//!
//! A client crate describes its service once, as a [`Service`], and wraps [`ClientBuilder`],
//! [`Client`] and [`Stream`] in types of its own. Their methods with the arguments of that service
//! are its own; the others come from [`aws_client!`](crate::aws_client) and
//! [`aws_builder!`](crate::aws_builder). Its options and its error are types of their own too, made
//! by [`aws_options!`](crate::aws_options) and [`aws_error!`](crate::aws_error).
//!
//! What a record goes through: the client checks it against [`ServiceLimits`] and hands it to the
//! engine; the engine hands batches to a sender, which calls [`Service::put`] and cleans what the
//! service said before anyone is shown it. Where events share records ([`Grouping`]), it is the
//! sender that puts them together. What is wrong with a request as a whole is judged in
//! [`judge`].

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
