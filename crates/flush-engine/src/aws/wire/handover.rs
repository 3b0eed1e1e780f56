//! Passes a finished body to the protocol of one call, and passes the outcomes back.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use bytes::Bytes;

use super::answer::{self, Outcome};
use super::entry::Operation;
use super::format::{Choice, Format};
use super::source::Unreadable;

/// The interceptor that carries the body of one call; see [`Wire::send`](super::Wire::send).
///
/// ```
/// use aws_sdk_kinesis::Client;
/// use flush_engine::aws::wire::Handover;
///
/// // What the `call` of `Wire::send` does with it; the protocol is left out here.
/// async fn call(client: &Client, handover: Handover) {
///     let request = client.put_records().stream_name("orders").customize();
///     let _ = request.interceptor(handover).send().await;
/// }
/// ```
#[derive(Clone)]
pub struct Handover(Arc<Inner>);

pub(super) struct Inner {
    pub(super) operation: Operation,
    pub(super) choice: Arc<Choice>,
    pub(super) format: Format,
    pub(super) body: Bytes,
    pub(super) records: usize,
    pub(super) with_receipts: bool,
    pub(super) is_misdirected: AtomicBool,
    pub(super) outcomes: Mutex<Option<Vec<Outcome>>>,
}

impl Handover {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(super) fn format(&self) -> Format {
        self.0.format
    }

    pub(super) fn body(&self) -> Bytes {
        self.0.body.clone()
    }

    /// Whether the body may go to this endpoint; remembers if not.
    pub(super) fn suits(&self, endpoint: &str) -> bool {
        let suits = self.0.choice.suits(self.0.format, endpoint);
        self.0.is_misdirected.store(!suits, Ordering::Relaxed);
        suits
    }

    /// Whether the call failed because its format does not suit the endpoint.
    pub(super) fn is_misdirected(&self) -> bool {
        self.0.is_misdirected.load(Ordering::Relaxed)
    }

    /// Reads the response.
    pub(super) fn read(&self, answer: &[u8]) -> Result<(), Unreadable> {
        let Inner {
            operation,
            records,
            with_receipts,
            ..
        } = *self.0;
        let outcomes = answer::outcomes(operation, answer, records, with_receipts)?;
        *self.outcomes() = Some(outcomes);
        Ok(())
    }

    pub(super) fn take_outcomes(&self) -> Option<Vec<Outcome>> {
        self.outcomes().take()
    }

    fn outcomes(&self) -> std::sync::MutexGuard<'_, Option<Vec<Outcome>>> {
        self.0
            .outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Handover {
    fn name(&self) -> &'static str {
        "AmplifyHandover"
    }

    fn modify_before_serialization(
        &self,
        _context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(self.clone());
        Ok(())
    }
}

impl Storable for Handover {
    type Storer = StoreReplace<Self>;
}

// Omits the payload and the keys.
impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover")
            .field("format", &self.0.format)
            .field("records", &self.0.records)
            .field("bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
