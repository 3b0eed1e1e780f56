//! Limits the size of a service's answers.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// Bytes that the body of an answer may have; one to 500 records has some tens of KiB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Gives up an answer to a batch whose body is larger than any service's.
///
/// The HTTP client bounds the headers by itself.
#[derive(Debug)]
pub(crate) struct BoundedBody {
    /// The operation whose answers are bounded. Others, which the client's owner calls, may have
    /// much to say.
    pub(crate) operation: &'static str,
}

#[dyn_dispatch_hint]
impl Intercept for BoundedBody {
    fn name(&self) -> &'static str {
        "AmplifyBoundedBody"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(Metadata::name);
        if operation != Some(self.operation) {
            return Ok(());
        }
        let body = context.response_mut().body_mut();
        let unbounded = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(unbounded, MAX_BODY_BYTES));
        Ok(())
    }
}
