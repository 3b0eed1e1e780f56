//! The clients under measurement.

use std::time::Duration;

use amplify_kinesis::aws_sdk_kinesis::Client;
use amplify_kinesis::aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions, FlushStrategy,
    OverflowPolicy, WireFormat,
};
use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};

use crate::bench::amount::{GIB, MIB};

pub(crate) const REGION: &str = "us-east-1";
/// Longer than any measurement.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The request format. AWS's own hosts get CBOR unless JSON is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Cbor,
    Json,
}

impl From<Format> for WireFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Cbor => Self::Cbor,
            Format::Json => Self::Json,
        }
    }
}

/// A client that delivers only on request.
pub(crate) fn builder(endpoint: &str, format: Format) -> AmplifyKinesisClientBuilder {
    let options = options(4 * GIB, FlushStrategy::None, 1);
    with(endpoint, options.wire_format(format))
}

/// A client that delivers full batches by itself. While its cache has this many bytes, recording
/// waits.
pub(crate) fn adaptive(
    endpoint: &str,
    bytes: u64,
    in_flight: usize,
) -> AmplifyKinesisClientBuilder {
    let strategy = FlushStrategy::Adaptive {
        max_delay: Duration::from_secs(1),
        max_records: 500,
        max_bytes: 4 * MIB,
    };
    let options = options(bytes, strategy, in_flight);
    with(
        endpoint,
        options.overflow_policy(OverflowPolicy::Wait { at_most: LONG }),
    )
}

/// A client with these options.
pub(crate) fn with(
    endpoint: &str,
    options: AmplifyKinesisClientOptions,
) -> AmplifyKinesisClientBuilder {
    AmplifyKinesisClient::builder()
        .region(REGION)
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
        .options(options)
}

/// CBOR, as for AWS's own hosts.
pub(crate) fn options(
    bytes: u64,
    strategy: FlushStrategy,
    in_flight: usize,
) -> AmplifyKinesisClientOptions {
    AmplifyKinesisClientOptions::default()
        .cache_max_bytes(bytes)
        .max_in_flight_per_stream(in_flight)
        .flush_strategy(strategy)
        .wire_format(WireFormat::Cbor)
}

/// The bare SDK client.
pub(crate) fn bare(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

pub(crate) fn credentials() -> Credentials {
    Credentials::new("bench", "bench", None, None, "bench")
}
