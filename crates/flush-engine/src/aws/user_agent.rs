//! Adds the client's name to the user agent of requests.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Adds `lib/amplify-rust#<version> md/<client>#<version>` to the user agent.
#[derive(Debug, Clone)]
pub(crate) struct UserAgent {
    tokens: String,
}

impl UserAgent {
    /// The tokens for a client with this name and version.
    pub(crate) fn new(client: &str, version: &str) -> Self {
        Self {
            tokens: format!("lib/amplify-rust#{version} md/{client}#{version}"),
        }
    }
}

#[dyn_dispatch_hint]
impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "AmplifyUserAgent"
    }

    // After signing: the signature does not cover this header.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const HEADER: &str = "user-agent";
        let headers = context.request_mut().headers_mut();
        let of_sdk = headers.get(HEADER).unwrap_or_default();
        // The SDK client may come from another of our clients.
        if !of_sdk.contains(&self.tokens) {
            let with_ours = format!("{of_sdk} {}", self.tokens);
            headers.try_insert(HEADER, with_ours.trim_start().to_owned())?;
        }
        Ok(())
    }
}
