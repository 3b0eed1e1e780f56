//! Builders of each client, SDK clients, and a credentials provider that counts its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amplify_firehose::{
    AmplifyFirehoseClient, AmplifyFirehoseClientBuilder, AmplifyFirehoseClientOptions,
};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions, FlushStrategy,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use integration_tests::{Endpoint, credentials};

/// A client of this endpoint that flushes only on demand.
pub(crate) fn kinesis(
    aws: &Endpoint,
    options: AmplifyKinesisClientOptions,
) -> AmplifyKinesisClientBuilder {
    AmplifyKinesisClient::builder()
        .region("eu-west-1")
        .credentials_provider(credentials())
        .endpoint_url(aws.endpoint_url())
        .options(options.flush_strategy(FlushStrategy::None))
}

/// The same for Firehose, in memory.
pub(crate) fn firehose(
    aws: &Endpoint,
    options: AmplifyFirehoseClientOptions,
) -> AmplifyFirehoseClientBuilder {
    AmplifyFirehoseClient::builder()
        .region("eu-west-1")
        .credentials_provider(credentials())
        .endpoint_url(aws.endpoint_url())
        .in_memory()
        .options(options.flush_strategy(FlushStrategy::None))
}

/// An SDK client. An explicit protocol makes it use the SDK's own writer and reader.
pub(crate) fn sdk_client(has_a_protocol: bool) -> aws_sdk_kinesis::Client {
    let mut config = aws_sdk_kinesis::Config::builder().behavior_version(BehaviorVersion::latest());
    if has_a_protocol {
        let protocol = AwsJsonRpcProtocol::aws_json_1_1();
        config = config.protocol(protocol.with_default_namespace("com.amazonaws.kinesis"));
    }
    aws_sdk_kinesis::Client::from_conf(config.build())
}

/// The result of `aws_config::load_defaults` with everything in the environment. It has its own
/// credentials cache.
pub(crate) async fn loaded(
    aws: &Endpoint,
    provider: impl ProvideCredentials + 'static,
) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .endpoint_url(aws.endpoint_url())
        .load()
        .await
}

/// Returns credentials and counts the calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting(Arc<AtomicUsize>);

impl Counting {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ProvideCredentials for Counting {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        self.0.fetch_add(1, Ordering::Relaxed);
        Providing::ready(Ok(credentials()))
    }
}
