//! Region, credentials, endpoint and timeouts, from the builder or the SDK's configuration.

use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::identity::SharedIdentityCache;
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use crate::InvalidSetting;
use crate::aws::body::BoundedBody;
use crate::aws::connections::Connections;
use crate::aws::credentials::RenewableCredentials;
use crate::aws::endpoint::Endpoint;
use crate::aws::user_agent::UserAgent;
use crate::aws::{Base, Service};

/// SDK attempts per request, including the first.
const SDK_ATTEMPTS: u32 = 3;
/// The default connect timeout: the SDK's own default, made explicit.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The configuration of an existing SDK client.
///
/// ```
/// use flush_engine::aws::Given;
///
/// fn given(client: &aws_sdk_kinesis::Client) -> Given {
///     let config = client.config();
///     Given {
///         region: config.region().map(ToString::to_string),
///         timeouts: config.timeout_config().cloned(),
///         identity_cache: config.identity_cache(),
///     }
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The region, if it has one.
    pub region: Option<String>,
    /// The timeouts, if any were set.
    pub timeouts: Option<TimeoutConfig>,
    /// The credentials cache, if the client has its own.
    pub identity_cache: Option<SharedIdentityCache>,
}

/// The settings that we apply to an SDK client.
///
/// ```
/// use aws_sdk_kinesis::config::{Builder, Region};
/// use flush_engine::aws::Connection;
///
/// fn apply(connection: Connection, config: &mut Builder) {
///     config.set_region(Some(Region::new(connection.region)));
///     config.set_timeout_config(Some(connection.timeouts));
///     config.set_credentials_provider(connection.credentials);
///     config.set_identity_cache(connection.identity_cache);
///     config.set_endpoint_url(connection.endpoint_url);
///     for interceptor in connection.interceptors {
///         config.push_interceptor(interceptor);
///     }
/// }
/// ```
pub struct Connection {
    /// The region's name.
    pub region: String,
    /// The timeouts.
    pub timeouts: TimeoutConfig,
    /// The credentials provider, unless the base has one.
    pub credentials: Option<SharedCredentialsProvider>,
    /// The credentials cache.
    pub identity_cache: SharedIdentityCache,
    /// The endpoint URL, unless the base sets it.
    pub endpoint_url: Option<String>,
    /// Interceptors for each request.
    pub interceptors: Vec<SharedInterceptor>,
}

// A derived `Debug` would show passwords in the URL and the provider's own output.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("region", &self.region)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// The connection settings as given to the builder.
#[derive(Clone)]
pub(crate) struct ConnectionSettings<S: Service> {
    pub(crate) region: Option<String>,
    pub(crate) credentials: Option<SharedCredentialsProvider>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) sdk_config: Option<SdkConfig>,
    pub(crate) client: Option<S::SdkClient>,
}

/// An SDK client and its endpoint.
pub(crate) struct Connected<S: Service> {
    pub(crate) client: S::SdkClient,
    pub(crate) connections: Connections,
    pub(crate) credentials: RenewableCredentials,
    pub(crate) region: String,
    /// The endpoint, if known to differ from the region's own.
    pub(crate) endpoint: Option<Endpoint>,
}

impl<S: Service> Default for ConnectionSettings<S> {
    fn default() -> Self {
        Self {
            region: None,
            credentials: None,
            endpoint_url: None,
            sdk_config: None,
            client: None,
        }
    }
}

impl<S: Service> ConnectionSettings<S> {
    /// Merges the settings and builds the SDK client.
    pub(crate) fn connect(self, timeout: Duration) -> Result<Connected<S>, InvalidSetting> {
        let endpoint = self.endpoint_url.map(Endpoint::new).transpose()?;
        let (base, given, endpoint) = match &self.client {
            Some(client) => (Base::Client(client), S::given(client), endpoint),
            None => {
                let found = self
                    .sdk_config
                    .unwrap_or_else(|| SdkConfig::builder().build());
                if self.credentials.is_none() && found.credentials_provider().is_none() {
                    return Err(InvalidSetting::new(
                        "credentials_provider",
                        "there is none",
                        "set credentials_provider, or sdk_config with what \
                         aws_config::load_defaults gives",
                    ));
                }
                let given = Given {
                    region: found.region().map(ToString::to_string),
                    timeouts: found.timeout_config().cloned(),
                    identity_cache: found.identity_cache(),
                };
                let endpoint = match endpoint {
                    Some(endpoint) => Some(endpoint),
                    None => endpoint_of::<S>(&found).map(Endpoint::new).transpose()?,
                };
                (Base::SdkConfig(Box::new(completed(found))), given, endpoint)
            }
        };
        let region = checked_region(self.region.or(given.region))?;
        let connections = Connections::default();
        let credentials = RenewableCredentials::new(given.identity_cache);
        let connection = Connection {
            region: region.clone(),
            timeouts: with_request_timeout(given.timeouts.as_ref(), timeout),
            credentials: self.credentials,
            identity_cache: SharedIdentityCache::new(credentials.clone()),
            endpoint_url: endpoint.as_ref().map(|endpoint| endpoint.url().to_owned()),
            interceptors: vec![
                SharedInterceptor::new(UserAgent::new(S::CLIENT, S::VERSION)),
                SharedInterceptor::new(BoundedBody {
                    operation: S::OPERATION,
                }),
                SharedInterceptor::new(connections.clone()),
            ],
        };
        Ok(Connected {
            client: S::connect(base, connection),
            connections,
            credentials,
            region,
            endpoint,
        })
    }
}

/// The configuration that aws-config found, with a default for retries and a fixed behavior
/// version, so that neither depends on aws-config or on SDK features.
fn completed(found: SdkConfig) -> SdkConfig {
    let retry = found.retry_config().cloned();
    let retry = retry.unwrap_or(RetryConfig::standard().with_max_attempts(SDK_ATTEMPTS));
    let builder = found.into_builder().retry_config(retry);
    let builder = builder.behavior_version(BehaviorVersion::v2026_01_12());
    let completed = builder.build();
    #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
    let completed = crate::aws::browser::completed(completed);
    completed
}

/// The endpoint that aws-config found. The one for this service overrides the one for all services,
/// unless the program itself has set the latter.
fn endpoint_of<S: Service>(config: &SdkConfig) -> Option<String> {
    let for_all = || config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return for_all();
    }
    let key = ServiceConfigKey::builder()
        .service_id(S::SDK_ID)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_service = key
        .ok()
        .and_then(|key| config.service_config()?.load_config(key));
    of_service.or_else(for_all)
}

/// The given timeouts, plus a limit on a whole request including its retries.
fn with_request_timeout(given: Option<&TimeoutConfig>, request: Duration) -> TimeoutConfig {
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
fn checked_region(region: Option<String>) -> Result<String, InvalidSetting> {
    let invalid = |problem: &str| {
        InvalidSetting::new(
            "region",
            problem,
            "set region, or AWS_REGION if aws-config reads the environment, to the name of a \
             region, like us-east-1",
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
