//! The loopback endpoint. When dropped, it checks that no limit was exceeded.

use std::ops::Deref;
use std::thread;

use amplify_test_support::FakeAws;

/// An endpoint that checks at the end that no request exceeded a limit of its service.
#[derive(Debug)]
pub struct Endpoint(FakeAws);

impl Endpoint {
    pub fn start() -> Self {
        Self(FakeAws::start())
    }

    /// Waits until the condition holds.
    pub async fn until(&self, condition: impl Fn(&FakeAws) -> bool) {
        self.0.wait_until(condition).await.unwrap();
    }

    /// The payloads accepted for a stream, as text.
    pub fn payloads(&self, stream: &str) -> Vec<String> {
        let delivered = self.0.delivered(stream).into_iter();
        delivered
            .map(|record| String::from_utf8(record.data.to_vec()).unwrap())
            .collect()
    }

    /// The stream of each request, in order.
    pub fn streams_in_order(&self) -> Vec<String> {
        let requests = self.0.requests().into_iter();
        requests.map(|request| request.stream).collect()
    }
}

impl Deref for Endpoint {
    type Target = FakeAws;

    fn deref(&self) -> &FakeAws {
        &self.0
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(self.0.limit_violations(), [""; 0]);
        }
    }
}
