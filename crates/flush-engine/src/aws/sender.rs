//! A service as the engine sees it.

use async_trait::async_trait;
use batcher::BatchLimits;
use record_cache::{Record, StreamName};

use crate::aws::Service;
use crate::{RecordSender, SendError, Verdict};

/// Sends batches to a service.
#[derive(Debug)]
pub(crate) struct ServiceSender<S: Service> {
    requests: S::Requests,
}

impl<S: Service> ServiceSender<S> {
    pub(crate) fn new(requests: S::Requests) -> Self {
        Self { requests }
    }
}

#[async_trait]
impl<S: Service> RecordSender for ServiceSender<S> {
    fn limits(&self) -> BatchLimits {
        S::LIMITS.request
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        S::put(&self.requests, stream, batch).await
    }
}
