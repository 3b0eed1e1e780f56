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

/// A service that accepts records in batches.
///
/// [`aws_sdk_client!`](crate::aws_sdk_client) implements the parts that concern the SDK client.
///
/// ```
/// # use flush_engine::BatchLimits;
/// # use flush_engine::aws::{ClientOptions, ServiceLimits};
/// # use std::num::{NonZeroU64, NonZeroUsize};
/// # #[derive(Debug, Clone, Default)]
/// # struct Options;
/// use flush_engine::SendError;
/// use flush_engine::aws::wire::{Entry, Outcome, Receipts};
/// use flush_engine::aws::{Service, outcome, send_error};
/// use record_cache::StreamName;
///
/// /// Kinesis Data Streams, by the typed calls of the SDK.
/// #[derive(Debug, Clone)]
/// struct Kinesis;
///
/// impl Service for Kinesis {
/// #     const NAME: &'static str = "kinesis";
/// #     const SDK_ID: &'static str = "Kinesis";
/// #     const CLIENT: &'static str = "my-client";
/// #     const VERSION: &'static str = "0.1.0";
/// #     const STREAM: &'static str = "stream";
/// #     const ARN_SERVICE: Option<&'static str> = None;
/// #     const LIMITS: ServiceLimits = ServiceLimits {
/// #         request: BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX),
/// #         record_bytes: 1 << 20,
/// #         partition_key_chars: Some(256),
/// #         stream_name_chars: 128,
/// #     };
///     const OPERATION: &'static str = "PutRecords";
///     // … its other names, and its limits …
///     type Options = Options;
///     type Requests = aws_sdk_kinesis::Client;
///
///     flush_engine::aws_sdk_client!(aws_sdk_kinesis);
///
///     fn client_options(_: &Options) -> ClientOptions {
///         ClientOptions::new(1 << 20)
///     }
///
///     fn requests(client: &aws_sdk_kinesis::Client, _: &Options) -> aws_sdk_kinesis::Client {
///         client.clone()
///     }
///
///     async fn put(
///         client: &aws_sdk_kinesis::Client,
///         stream: &StreamName,
///         entries: &[Entry<'_>],
///         _: Receipts,
///     ) -> Result<Vec<Outcome>, SendError> {
///         let request = client.put_records().stream_name(stream.as_str());
///         // … with the entries …
///         let answer = request.send().await.map_err(|error| send_error(&error))?;
///         let results = answer.records.into_iter();
///         results
///             .map(|result| outcome(result.error_code, result.sequence_number, result.shard_id))
///             .collect()
///     }
/// }
/// ```
pub trait Service: Clone + Debug + Send + Sync + 'static {
    /// A short name of the service: a metrics label, and part of the default directory's name.
    const NAME: &'static str;
    /// The SDK's name for the service, used to find its endpoint in the environment.
    const SDK_ID: &'static str;
    /// The name of the client's crate, for the user agent.
    const CLIENT: &'static str;
    /// The version of the client's crate, for the user agent.
    const VERSION: &'static str;
    /// The operation that sends a batch.
    const OPERATION: &'static str;
    /// What records are sent to, as a noun for messages.
    const STREAM: &'static str;
    /// The service's name in stream ARNs, if the operation takes them.
    const ARN_SERVICE: Option<&'static str>;
    /// The quotas of the service.
    const LIMITS: ServiceLimits;

    /// The options of the client.
    type Options: Clone + Debug + Default + Send + Sync + 'static;
    /// The SDK's client.
    type SdkClient: Clone + Debug + Send + Sync + 'static;
    /// Sends the requests.
    type Requests: Debug + Send + Sync + 'static;

    /// The options that all services share.
    fn client_options(options: &Self::Options) -> ClientOptions;

    /// The configuration of an SDK client.
    fn given(client: &Self::SdkClient) -> Given;

    /// Builds an SDK client.
    fn connect(base: Base<'_, Self::SdkClient>, connection: Connection) -> Self::SdkClient;

    /// Builds the request sender for these options.
    fn requests(client: &Self::SdkClient, options: &Self::Options) -> Self::Requests;

    /// Sends records in one request, and returns one outcome for each of them, in order; see
    /// [`RecordSender::send`](crate::RecordSender::send).
    ///
    /// [`send_error`](crate::aws::send_error) and [`outcome`](crate::aws::outcome) translate the
    /// SDK's response for the engine.
    ///
    /// # Errors
    /// [`SendError`] as for [`RecordSender::send`](crate::RecordSender::send).
    ///
    /// # Cancel safety
    /// The engine drops the future when the request takes too long. The service may have accepted
    /// the records anyway.
    fn put(
        requests: &Self::Requests,
        stream: &StreamName,
        entries: &[Entry<'_>],
        receipts: Receipts,
    ) -> impl Future<Output = Result<Vec<Outcome>, SendError>> + Send;

    /// How events share records under these options. By default, they do not.
    ///
    /// # Errors
    /// [`InvalidSetting`] if a setting is out of range.
    fn grouping(_options: &Self::Options) -> Result<Option<Grouping>, InvalidSetting> {
        Ok(None)
    }

    /// Lists the open shards of a stream, for services that have shards.
    ///
    /// # Errors
    /// [`SendError`] as for any request.
    ///
    /// # Cancel safety
    /// Changes nothing.
    fn open_shards(
        _requests: &Self::Requests,
        _stream: &StreamName,
    ) -> impl Future<Output = Result<Vec<Shard>, SendError>> + Send {
        ready(Ok(Vec::new()))
    }
}

/// The quotas of a service.
///
/// ```
/// use flush_engine::BatchLimits;
/// use flush_engine::aws::ServiceLimits;
/// use std::num::{NonZeroU64, NonZeroUsize};
///
/// const LIMITS: ServiceLimits = ServiceLimits {
///     request: BatchLimits::new(
///         NonZeroUsize::new(500).expect("not zero"),
///         NonZeroU64::new(4 << 20).expect("not zero"),
///     ),
///     record_bytes: 1000 << 10,
///     partition_key_chars: None,
///     stream_name_chars: 64,
/// };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ServiceLimits {
    /// How large one request may be.
    pub request: BatchLimits,
    /// Maximum bytes of one record.
    pub record_bytes: u64,
    /// Maximum Unicode scalar values in a partition key, if records have one.
    pub partition_key_chars: Option<usize>,
    /// Maximum characters in a stream name.
    pub stream_name_chars: usize,
}

/// What a new SDK client is based on.
///
/// ```
/// use aws_sdk_kinesis::{Client, config::Builder};
/// use flush_engine::aws::Base;
///
/// fn builder(base: Base<'_, Client>) -> Builder {
///     match base {
///         Base::SdkConfig(config) => Builder::from(&*config),
///         Base::Client(client) => client.config().to_builder(),
///     }
/// }
/// ```
#[derive(Debug)]
pub enum Base<'a, C> {
    /// The configuration that aws-config found.
    SdkConfig(Box<SdkConfig>),
    /// Another SDK client, which is not changed.
    Client(&'a C),
}

/// Implements the parts of [`Service`](crate::aws::Service) that concern the SDK client, for a
/// service crate of the SDK.
///
/// All service crates of the SDK have types of the same shape, but no common trait.
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
            // A slow response means a slow link; the timeouts limit it.
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
