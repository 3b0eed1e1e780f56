//! What the tests against LocalStack share.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test target uses a part of it"
)]
#![expect(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests")]

mod delivery;
mod discards;
mod stream;

use std::path::Path;
use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy};
use aws_credential_types::Credentials;
use integration_tests::localstack::{Installation, LocalStack, shared_endpoint};

pub use self::delivery::{Delivery, framed};
pub use self::discards::Discards;
pub use self::stream::{Stream, by_key};

const REGION: &str = "us-east-1";
/// Far longer than anything takes, on a busy machine too; LocalStack moves about 1 MB/s at best.
pub const LONG: Duration = Duration::from_secs(600);

/// Where the LocalStack of `cargo xtask e2e` listens.
pub fn endpoint() -> String {
    shared_endpoint().unwrap()
}

/// A LocalStack for this test alone.
pub fn own_localstack() -> LocalStack {
    LocalStack::reserve(&Installation::from_env().unwrap()).unwrap()
}

/// A client that keeps its records in `directory`.
pub async fn kinesis(
    endpoint: &str,
    directory: &Path,
    options: AmplifyKinesisClientOptions,
) -> AmplifyKinesisClient {
    AmplifyKinesisClient::builder()
        .region(REGION)
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
        .storage_path(directory)
        .options(options)
        .build()
        .await
        .unwrap()
}

/// A client that keeps its records in `directory`.
pub async fn firehose(
    endpoint: &str,
    directory: &Path,
    options: AmplifyFirehoseClientOptions,
) -> AmplifyFirehoseClient {
    AmplifyFirehoseClient::builder()
        .region(REGION)
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
        .storage_path(directory)
        .options(options)
        .build()
        .await
        .unwrap()
}

/// Options of a client that flushes only when told to, and is patient with LocalStack.
pub fn kinesis_options() -> AmplifyKinesisClientOptions {
    AmplifyKinesisClientOptions::default()
        .flush_strategy(FlushStrategy::None)
        .request_timeout(LONG)
}

/// Options of a client that flushes only when told to, and is patient with LocalStack.
pub fn firehose_options() -> AmplifyFirehoseClientOptions {
    AmplifyFirehoseClientOptions::default()
        .flush_strategy(FlushStrategy::None)
        .request_timeout(LONG)
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "e2e")
}
