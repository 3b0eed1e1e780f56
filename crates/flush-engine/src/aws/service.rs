//! The trait that describes an AWS service.

use std::fmt::Debug;
use std::future::{Future, ready};

use aggregation::Shard;
use aws_types::SdkConfig;
use batcher::BatchLimits;
use record_cache::StreamName;

use crate::aws::wire::{Entry, Outcome, Receipts};
use crate::aws::{ClientOptions, Connection, Given, Grouping};
use crate::{InvalidSetting, SendError};

/// A service that takes records in batches.
///
/// What concerns the SDK's client of it comes from [`aws_sdk_client!`](crate::aws_sdk_client).
pub trait Service: Clone + Debug + Send + Sync + 'static {
    /// The service in a word: a label of metrics, and part of the name of the default directory.
    const NAME: &'static str;
    /// The SDK's name for the service, by which its endpoint is found in the environment.
    const SDK_ID: &'static str;
    /// The name of the client's crate, for the user agent.
    const CLIENT: &'static str;
    /// The version of the client's crate, for the user agent.
    const VERSION: &'static str;
    /// The operation that takes a batch in.
    const OPERATION: &'static str;
    /// The noun for what records are sent to, for messages.
    const STREAM: &'static str;
    /// The service as ARNs of streams name it, if the operation takes them.
    const ARN_SERVICE: Option<&'static str>;
    /// The quotas of the service.
    const LIMITS: ServiceLimits;

    /// The options of the client.
    type Options: Clone + Debug + Default + Send + Sync + 'static;
    /// The SDK's client.
    type SdkClient: Clone + Debug + Send + Sync + 'static;
    /// What makes the requests.
    type Requests: Debug + Send + Sync + 'static;

    /// The part of the options that is the same for all services.
    fn client_options(options: &Self::Options) -> ClientOptions;

    /// What an SDK client was made with.
    fn given(client: &Self::SdkClient) -> Given;

    /// Makes an SDK client.
    fn connect(base: Base<'_, Self::SdkClient>, connection: Connection) -> Self::SdkClient;

    /// What makes the requests of a client with these options.
    fn requests(client: &Self::SdkClient, options: &Self::Options) -> Self::Requests;

    /// Sends records in one request, and gives one outcome for each of them, in order; see
    /// [`RecordSender::send`](crate::RecordSender::send).
    ///
    /// [`send_error`](crate::aws::send_error) and [`outcome`](crate::aws::outcome) turn the SDK's
    /// answer into the engine's terms.
    fn put(
        requests: &Self::Requests,
        stream: &StreamName,
        entries: &[Entry<'_>],
        receipts: Receipts,
    ) -> impl Future<Output = Result<Vec<Outcome>, SendError>> + Send;

    /// How events share records, by the options; not unless they say so.
    ///
    /// # Errors
    /// [`InvalidSetting`] when a setting is out of range.
    fn grouping(_options: &Self::Options) -> Result<Option<Grouping>, InvalidSetting> {
        Ok(None)
    }

    /// Lists the open shards of a stream, for services that have some.
    ///
    /// # Errors
    /// [`SendError`] as for any request.
    fn open_shards(
        _requests: &Self::Requests,
        _stream: &StreamName,
    ) -> impl Future<Output = Result<Vec<Shard>, SendError>> + Send {
        ready(Ok(Vec::new()))
    }
}

/// The quotas of a service.
#[derive(Debug, Clone, Copy)]
pub struct ServiceLimits {
    /// How large one request may be.
    pub request: BatchLimits,
    /// Bytes of one record.
    pub record_bytes: u64,
    /// Unicode scalar values of a partition key, if records have one.
    pub partition_key_chars: Option<usize>,
    /// Characters of a stream name.
    pub stream_name_chars: usize,
}

/// What an SDK client is made from.
#[derive(Debug)]
pub enum Base<'a, C> {
    /// What aws-config found.
    SdkConfig(Box<SdkConfig>),
    /// Another SDK client, which stays as it is.
    Client(&'a C),
}

/// Implements what [`Service`](crate::aws::Service) says of the SDK's client, for the crate of a
/// service in the SDK.
///
/// All service crates of the SDK have types of the same shape, but share no trait for them.
#[macro_export]
macro_rules! aws_sdk_client {
    ($sdk:ident) => {
        type SdkClient = $sdk::Client;

        fn given(client: &$sdk::Client) -> $crate::aws::Given {
            let config = client.config();
            $crate::aws::Given {
                region: config.region().map(::std::string::ToString::to_string),
                timeouts: config.timeout_config().cloned(),
                identity_cache: config.identity_cache(),
            }
        }

        fn connect(
            base: $crate::aws::Base<'_, $sdk::Client>,
            connection: $crate::aws::Connection,
        ) -> $sdk::Client {
            let mut config = match base {
                $crate::aws::Base::SdkConfig(given) => $sdk::config::Builder::from(&*given),
                $crate::aws::Base::Client(given) => given.config().to_builder(),
            };
            config.set_region(Some($sdk::config::Region::new(connection.region)));
            config.set_timeout_config(Some(connection.timeouts));
            config.set_identity_cache(connection.identity_cache);
            // A slow answer is a slow link; how long it may take, the time-outs say.
            config.set_stalled_stream_protection(Some(
                $sdk::config::StalledStreamProtectionConfig::disabled(),
            ));
            if let Some(provider) = connection.credentials {
                config.set_credentials_provider(Some(provider));
            }
            if let Some(url) = connection.endpoint_url {
                config.set_endpoint_url(Some(url));
            }
            for interceptor in connection.interceptors {
                config.push_interceptor(interceptor);
            }
            $sdk::Client::from_conf(config.build())
        }
    };
}
