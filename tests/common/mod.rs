//! What the tests of both clients share: each test is written once, for either client and,
//! where it matters, for either store.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test target uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

mod child;
mod client;
mod discards;
mod endpoint;
mod failing_store;
mod failure;
mod setup;

use std::time::Duration;

pub use self::child::{child, role};
pub use self::client::{Client, SdkClient};
pub use self::discards::Discards;
pub use self::endpoint::Endpoint;
pub use self::failing_store::{FailingStore, StoreCall};
pub use self::failure::{Failure, Kind};
pub use self::setup::{Place, Setup, one_attempt};

pub use integration_tests::Service;

/// Which client a test is run for, and where it keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub service: Service,
    pub place: Place,
}

impl Case {
    /// What a record's key adds to its size.
    pub fn key_bytes(self) -> usize {
        match self.service {
            Service::Kinesis => KEY.len(),
            Service::Firehose => 0,
        }
    }
}

/// The partition key of records that are given none.
pub const KEY: &str = "k";

/// Makes tests of async functions that take a [`Case`].
#[macro_export]
macro_rules! cases {
    (
        $(everywhere: $($everywhere:ident),+ $(,)?;)?
        $(in_memory: $($in_memory:ident),+ $(,)?;)?
        $(on_disk: $($on_disk:ident),+ $(,)?;)?
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
            $($($crate::cases!(@ Kinesis Disk $everywhere);)+)?
            $($($crate::cases!(@ Kinesis Disk $on_disk);)+)?
        }
        mod firehose_on_disk {
            $($($crate::cases!(@ Firehose Disk $everywhere);)+)?
            $($($crate::cases!(@ Firehose Disk $on_disk);)+)?
        }
        $(
            mod kinesis_in_a_journal {
                $($crate::cases!(@ Kinesis Journal $in_a_journal);)+
            }
            mod firehose_in_a_journal {
                $($crate::cases!(@ Firehose Journal $in_a_journal);)+
            }
        )?
    };
    (@ $service:ident $place:ident $test:ident) => {
        #[tokio::test]
        async fn $test() {
            super::$test($crate::common::Case {
                service: $crate::common::Service::$service,
                place: $crate::common::Place::$place,
            })
            .await;
        }
    };
}

/// Waits until a condition of a client holds; of the endpoint, `wait_until` is told sooner.
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
