//! The sender of a service.

use async_trait::async_trait;
use batcher::BatchLimits;
use record_cache::{Record, StreamName};

use crate::aws::Service;
use crate::aws::connections::Connections;
use crate::aws::credentials::RenewableCredentials;
use crate::aws::judge::refuses_credentials;
use crate::{NoAnswer, RecordSender, SendError, Verdict};

/// Sends batches to a service, and learns from how that went.
#[derive(Debug)]
pub(crate) struct ServiceSender<S: Service> {
    pub(crate) requests: S::Requests,
    pub(crate) connections: Connections,
    pub(crate) credentials: RenewableCredentials,
}

#[async_trait]
impl<S: Service> RecordSender for ServiceSender<S> {
    fn limits(&self) -> BatchLimits {
        S::LIMITS.request
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let credentials = self.credentials.edition();
        // The engine drops this future when the request takes too long.
        let waiting = self.connections.retire_unless_answered();
        let answer = S::put(&self.requests, stream, batch).await;
        match &answer {
            Err(SendError::NoAnswer {
                reason: NoAnswer::TimedOut,
                ..
            }) => drop(waiting),
            Err(SendError::Refused {
                code: Some(code), ..
            }) if refuses_credentials(code) => {
                waiting.answered();
                self.credentials.forget(credentials);
            }
            _ => waiting.answered(),
        }
        answer
    }
}
