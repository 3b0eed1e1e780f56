//! Shared helpers for the tests of both clients. Each test is written once and runs for each client
//! and, where it matters, for each store.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod child;
mod client;
mod discards;
mod endpoint;
mod events;
mod failure;
mod home;
mod log;
mod setup;

use std::time::{Duration, Instant};

use amplify_kinesis::Bytes;
use amplify_test_support::Reply;
use aws_credential_types::Credentials;

pub use self::child::{child, child_of, link_to_this_program, role};
pub use self::client::{Client, SdkClient};
pub use self::discards::Discards;
pub use self::endpoint::Endpoint;
pub use self::events::{Event, Events, events_of, shared};
pub use self::failure::{Failure, Kind, assert_fails};
pub use self::home::Home;
pub use self::log::Log;
pub use self::setup::{Setup, one_attempt};

pub use amplify_test_support::Service;
pub use amplify_test_support::stores::StoreKind;

pub const SERVICES: [Service; 2] = [Service::Kinesis, Service::Firehose];

/// The client that a test runs for, and the store that keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub service: Service,
    pub store: StoreKind,
}

impl Case {
    pub const fn new(service: Service, store: StoreKind) -> Self {
        Self { service, store }
    }

    /// The bytes that a record's key adds to its size.
    pub fn key_bytes(self) -> usize {
        match self.service {
            Service::Kinesis => KEY.len(),
            Service::Firehose => 0,
        }
    }

    /// The limit for data and partition key together.
    pub fn max_record_bytes(self) -> usize {
        match self.service {
            Service::Kinesis => 10 * 1024 * 1024,
            Service::Firehose => 1000 * 1024,
        }
    }

    pub fn max_request_bytes(self) -> usize {
        match self.service {
            Service::Kinesis => 10 * 1024 * 1024,
            Service::Firehose => 4 * 1024 * 1024,
        }
    }

    pub fn max_name_chars(self) -> usize {
        match self.service {
            Service::Kinesis => 128,
            Service::Firehose => 64,
        }
    }

    /// Data for a record that counts as `size` bytes.
    pub fn data_of(self, size: usize) -> Bytes {
        vec![b'x'; size - self.key_bytes()].into()
    }
}

/// The partition key of records that specify none.
pub const KEY: &str = "k";

/// Generates tests from async functions that take a [`Case`].
#[macro_export]
macro_rules! cases {
    (
        $(everywhere: $($everywhere:ident),+ $(,)?;)?
        $(in_memory: $($in_memory:ident),+ $(,)?;)?
        $(on_disk: $($on_disk:ident),+ $(,)?;)?
        $(on_disk_and_in_a_journal: $($durable:ident),+ $(,)?;)?
        $(in_a_journal: $($in_a_journal:ident),+ $(,)?;)?
    ) => {
        mod kinesis {
            $($($crate::cases!(@ Kinesis Memory $everywhere);)+)?
            $($($crate::cases!(@ Kinesis Memory $in_memory);)+)?
        }
        mod firehose {
            $($($crate::cases!(@ Firehose Memory $everywhere);)+)?
            $($($crate::cases!(@ Firehose Memory $in_memory);)+)?
        }
        mod kinesis_on_disk {
            $($($crate::cases!(@ Kinesis Sled $everywhere);)+)?
            $($($crate::cases!(@ Kinesis Sled $on_disk);)+)?
            $($($crate::cases!(@ Kinesis Sled $durable);)+)?
        }
        mod firehose_on_disk {
            $($($crate::cases!(@ Firehose Sled $everywhere);)+)?
            $($($crate::cases!(@ Firehose Sled $on_disk);)+)?
            $($($crate::cases!(@ Firehose Sled $durable);)+)?
        }
        mod kinesis_in_a_journal {
            $($($crate::cases!(@ Kinesis Journal $durable);)+)?
            $($($crate::cases!(@ Kinesis Journal $in_a_journal);)+)?
        }
        mod firehose_in_a_journal {
            $($($crate::cases!(@ Firehose Journal $durable);)+)?
            $($($crate::cases!(@ Firehose Journal $in_a_journal);)+)?
        }
    };
    (@ $service:ident $store:ident $test:ident) => {
        #[tokio::test]
        async fn $test() {
            let (service, store) = ($crate::Service::$service, $crate::StoreKind::$store);
            super::$test($crate::Case::new(service, store)).await;
        }
    };
}

/// Starts an endpoint and a client that flushes only on demand.
pub async fn start(case: Case) -> (Endpoint, Client) {
    start_with(case, |setup| setup).await
}

/// The same, with changes to the client's setup.
pub async fn start_with(case: Case, change: impl FnOnce(Setup) -> Setup) -> (Endpoint, Client) {
    let aws = Endpoint::start();
    let client = change(Setup::new(case, &aws)).build().await;
    (aws, client)
}

pub fn credentials() -> Credentials {
    Credentials::new("AKID", "SECRET", None, None, "test")
}

/// The number in an environment variable, if it is set.
pub fn number_in(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap())
}

/// An answer of somebody in between, such as a proxy.
pub fn page(status: u16, body: impl Into<Bytes>) -> Reply {
    let body = body.into();
    Reply::Page { status, body }
}

/// The time, for threads outside any runtime.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits until a condition on a client holds. For the endpoint, `wait_until` notices sooner.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    const LIMIT: Duration = Duration::from_secs(30);
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, waiting).await;
    in_time.unwrap_or_else(|_| panic!("not so within {LIMIT:?}: {what}"));
}

/// `prefix-0`, `prefix-1` and so on.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}-{at}")).collect()
}
