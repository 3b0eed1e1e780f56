//! Records sent through LocalStack, an independent implementation of the services.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod delivery;
#[cfg(feature = "e2e-managed")]
mod error_injection;
mod firehose;
mod kinesis;
mod resharding;
#[cfg(feature = "e2e-managed")]
mod restart;
mod stream;

use std::path::Path;
use std::time::Duration;

use amplify_kinesis::FlushData;
use amplify_test_support::localstack::shared_endpoint;
#[cfg(feature = "e2e-managed")]
use amplify_test_support::localstack::{Installation, LocalStack};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use integration_tests::{Case, Service, Setup, StoreKind};

pub(crate) use self::delivery::{Delivery, framed};
pub(crate) use self::stream::{Stream, by_key};

const REGION: &str = "us-east-1";
/// Far longer than anything takes, even on a busy machine. LocalStack moves about 1 MB/s at best.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The endpoint of the LocalStack that `cargo xtask e2e` started.
pub(crate) fn endpoint() -> String {
    shared_endpoint().unwrap()
}

/// A LocalStack for one test alone.
#[cfg(feature = "e2e-managed")]
pub(crate) fn own_localstack() -> LocalStack {
    LocalStack::reserve(&Installation::from_env().unwrap()).unwrap()
}

/// A client that keeps its records in `directory`, flushes only on demand and tolerates
/// LocalStack's pace.
pub(crate) fn setup(service: Service, endpoint: &str, directory: &Path) -> Setup {
    Setup::of_endpoint(Case::new(service, StoreKind::Sled), endpoint.to_owned())
        .region(REGION)
        .credentials(credentials())
        .default_attempts()
        .request_timeout(LONG)
        .storage_path(directory)
}

/// Settings of the SDK client that checks what arrived.
fn sdk_config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .endpoint_url(endpoint)
        .build()
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "e2e")
}

/// Checks that a flush skipped this stream, which does not exist, and no other.
fn assert_skipped_as_missing(flushed: &FlushData, missing: &str) {
    assert_eq!((flushed.records_flushed, flushed.records_retried), (3, 3));
    let [skipped] = flushed.skipped_streams.as_slice() else {
        panic!("one stream is missing: {:?}", flushed.skipped_streams);
    };
    assert_eq!(skipped.stream_name, missing);
    assert_eq!(skipped.code.as_deref(), Some("ResourceNotFoundException"));
}
