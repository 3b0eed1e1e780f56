//! Limits the size of responses.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// Maximum bytes in a response body. A response for up to 500 records takes some tens of KiB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Rejects a response to a batch, or a list of shards, if its body is larger than any service would
/// send.
///
/// The HTTP client itself bounds the headers. The client's owner may call other operations, whose
/// responses can be large.
#[derive(Debug)]
pub(crate) struct BoundedBody {
    /// The operation that sends batches.
    pub(crate) operation: &'static str,
}

/// A page of a list has at most 10,000 shards, of a few hundred bytes each.
const LIST: &str = "ListShards";

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
        if !operation.is_some_and(|name| name == self.operation || name == LIST) {
            return Ok(());
        }
        let body = context.response_mut().body_mut();
        let unbounded = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(unbounded, MAX_BODY_BYTES));
        Ok(())
    }
}
