//! Closes a client's idle connections when all of them may be dead.
//!
//! When a NAT or a firewall silently forgets a connection, requests over it time out. The other
//! connections in the HTTP client's pool are as old and probably as dead, so a timeout retires all
//! of them. Requests in flight on them are not disturbed.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

/// Maximum connections to remember; a client has one per parallel request.
const MAX_REMEMBERED: usize = 1024;

/// The connections on which a client has had responses or awaits one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Connections that have responded, oldest first; they may have been closed since.
    answered: VecDeque<(Addresses, ConnectionMetadata)>,
    /// Connections of attempts that await a response. Each [`Attempt`] removes its own.
    waiting: HashMap<u64, CaptureSmithyConnection>,
    attempts: u64,
}

type Addresses = (Option<SocketAddr>, Option<SocketAddr>);

impl Connections {
    /// Makes the next request use none of the connections that are open now.
    pub(crate) fn retire(&self) {
        let (answered, waiting) = {
            let mut known = self.known();
            (
                mem::take(&mut known.answered),
                mem::take(&mut known.waiting),
            )
        };
        let waiting = waiting.values().filter_map(CaptureSmithyConnection::get);
        for connection in answered.into_iter().map(|(_, one)| one).chain(waiting) {
            connection.poison();
        }
    }

    /// Returns a guard that retires the connections when dropped, unless told that a response came.
    pub(crate) fn retire_unless_answered(&self) -> Waiting<'_> {
        Waiting(Some(self))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that awaits its response. Dropping it means that the request has timed out.
pub(crate) struct Waiting<'a>(Option<&'a Connections>);

impl Waiting<'_> {
    pub(crate) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(connections) = self.0 {
            connections.retire();
        }
    }
}

/// An attempt, stored in its configuration. Dropped with it, whatever ends the call.
#[derive(Debug)]
struct Attempt {
    number: u64,
    connections: Connections,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.connections.known().waiting.remove(&self.number);
    }
}

impl Storable for Attempt {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Connections {
    fn name(&self) -> &'static str {
        "AmplifyConnections"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let capture = match config.load::<CaptureSmithyConnection>() {
            Some(of_sdk) => of_sdk.clone(),
            None => CaptureSmithyConnection::new(),
        };
        context.request_mut().add_extension(capture.clone());
        let mut known = self.known();
        known.attempts += 1;
        let number = known.attempts;
        known.waiting.insert(number, capture.clone());
        drop(known);
        config.interceptor_state().store_put(capture);
        config.interceptor_state().store_put(Attempt {
            number,
            connections: self.clone(),
        });
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let capture = config.load::<CaptureSmithyConnection>();
        if let Some(connection) = capture.and_then(CaptureSmithyConnection::get) {
            let addresses = (connection.local_addr(), connection.remote_addr());
            let mut known = self.known();
            known.answered.retain(|(others, _)| *others != addresses);
            known.answered.push_back((addresses, connection));
            if known.answered.len() > MAX_REMEMBERED {
                known.answered.pop_front();
            }
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let timed_out = match context.output_or_error() {
            Some(Err(error)) => {
                let connector_error = error.as_connector_error();
                error.is_timeout_error() || connector_error.is_some_and(|error| error.is_timeout())
            }
            Some(Ok(_)) | None => false,
        };
        if timed_out {
            self.retire();
        }
        config.interceptor_state().unset::<Attempt>();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_sdk_kinesis::Client;
    use aws_sdk_kinesis::config::retry::RetryConfig;
    use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn client(connections: &Connections, listener: &TcpListener) -> Client {
        let retries = RetryConfig::standard().with_max_attempts(2);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::from_keys("id", "secret", None))
            .retry_config(retries.with_initial_backoff(Duration::from_millis(1)))
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .interceptor(connections.clone());
        Client::from_conf(config.build())
    }

    /// Answers a request with an error that is worth another attempt.
    async fn fail(mut stream: TcpStream) {
        const ANSWER: &[u8] = b"HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let read = stream.read(&mut [0; 4096]).await;
        if read.is_ok_and(|bytes| bytes > 0) {
            // A client that is gone needs no answer.
            let _ = stream.write_all(ANSWER).await;
        }
    }

    /// Waits until an attempt awaits its response.
    async fn one_waits(connections: &Connections) {
        while connections.known().waiting.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn an_attempt_is_forgotten_when_its_call_ends_or_is_dropped() {
        let connections = Connections::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(&connections, &listener);
        for _ in 0..3 {
            tokio::select! {
                answer = client.list_streams().send() => panic!("nobody answers: {answer:?}"),
                () = one_waits(&connections) => {}
            }
            assert!(connections.known().waiting.is_empty());
        }

        // The first attempt of this call fails and is followed by another.
        let answers = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(fail(stream));
            }
        });
        client.list_streams().send().await.unwrap_err();
        assert_eq!(connections.known().attempts, 5);
        assert!(connections.known().waiting.is_empty());
        answers.abort();
    }
}
