//! Region, credentials, endpoint and time-outs, from wherever they were given.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::InvalidSetting;

/// Attempts of the SDK within one request, the first one included.
const SDK_ATTEMPTS: u32 = 3;
/// Where nothing else is said; the SDK's own default, made explicit.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// What a client was told about its connection, setter by setter.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The region, if it was named.
    pub region: Option<String>,
    /// The credentials provider, if one was given.
    pub credentials: Option<SharedCredentialsProvider>,
    /// Where requests go, if not to the region's own endpoint.
    pub endpoint_url: Option<String>,
    /// What aws-config found; all else beats it.
    pub sdk_config: Option<SdkConfig>,
}

/// A connection whose settings are complete.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResolvedConnection {
    /// The region's name.
    pub region: String,
    /// The settings, for the configuration of a service client.
    pub sdk_config: SdkConfig,
}

impl Connection {
    /// Puts the settings together.
    ///
    /// # Errors
    /// [`InvalidSetting`] when the region or the credentials provider is missing, or the
    /// region cannot be one.
    pub fn resolve(self, request_timeout: Duration) -> Result<ResolvedConnection, InvalidSetting> {
        let given = self
            .sdk_config
            .unwrap_or_else(|| SdkConfig::builder().build());
        let region = self
            .region
            .or_else(|| given.region().map(ToString::to_string));
        let region = checked_region(region)?;
        let credentials = self.credentials.or_else(|| given.credentials_provider());
        if credentials.is_none() {
            return Err(InvalidSetting::new(
                "credentials_provider",
                "there is none",
                "set credentials_provider, or sdk_config with what aws_config::load_defaults gives",
            ));
        }
        let retry = given.retry_config().cloned();
        let retry = retry.unwrap_or(RetryConfig::standard().with_max_attempts(SDK_ATTEMPTS));
        let timeouts = with_request_timeout(given.timeout_config(), request_timeout);
        let mut builder = given
            .into_builder()
            .region(Region::new(region.clone()))
            .retry_config(retry)
            .timeout_config(timeouts)
            .behavior_version(BehaviorVersion::v2026_01_12());
        builder.set_credentials_provider(credentials);
        if let Some(endpoint_url) = self.endpoint_url {
            builder.set_endpoint_url(Some(checked_endpoint(endpoint_url)?));
        }
        Ok(ResolvedConnection {
            region,
            sdk_config: builder.build(),
        })
    }
}

/// The time-outs given, with the bound on a whole request, its retries included.
#[must_use]
pub fn with_request_timeout(given: Option<&TimeoutConfig>, request: Duration) -> TimeoutConfig {
    let connect = given
        .and_then(TimeoutConfig::connect_timeout)
        .unwrap_or(CONNECT_TIMEOUT);
    let builder = given.map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    builder
        .connect_timeout(connect)
        .operation_timeout(request)
        .build()
}

/// Checks a region's name, which becomes part of host and directory names.
///
/// # Errors
/// [`InvalidSetting`] when it is missing or cannot be one.
pub fn checked_region(region: Option<String>) -> Result<String, InvalidSetting> {
    let invalid = |problem: &str| {
        InvalidSetting::new(
            "region",
            problem,
            "set region to the name of a region, like us-east-1",
        )
    };
    let region = region.ok_or_else(|| invalid("there is none"))?;
    let is_name = !region.is_empty()
        && region.len() <= 63
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name {
        Ok(region)
    } else {
        Err(invalid("is not the name of a region"))
    }
}

/// Checks an endpoint, which is a URL of the http or https scheme with a host.
///
/// # Errors
/// [`InvalidSetting`] when it is none.
pub fn checked_endpoint(url: String) -> Result<String, InvalidSetting> {
    let authority = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    if authority.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) {
        return Ok(url);
    }
    Err(InvalidSetting::new(
        "endpoint_url",
        "is not a URL of the http or https scheme",
        "set endpoint_url to something like http://localhost:4566",
    ))
}
