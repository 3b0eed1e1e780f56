//! Services for tests, with limits and nothing else.

use std::num::{NonZeroU64, NonZeroUsize};

use batcher::BatchLimits;
use record_cache::StreamName;

use crate::SendError;
use crate::aws::wire::{Entry, Outcome, Receipts};
use crate::aws::{Base, ClientOptions, Connection, Given, Service, ServiceLimits};

macro_rules! service {
    ($(#[$doc:meta])* $name:ident, $partition_key_chars:expr, $arn_service:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name;

        impl Service for $name {
            const NAME: &'static str = "test";
            const SDK_ID: &'static str = "Test";
            const CLIENT: &'static str = "amplify-test";
            const VERSION: &'static str = "0";
            const OPERATION: &'static str = "Put";
            const STREAM: &'static str = "stream";
            const ARN_SERVICE: Option<&'static str> = $arn_service;
            const LIMITS: ServiceLimits = ServiceLimits {
                request: BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX),
                record_bytes: 100,
                partition_key_chars: $partition_key_chars,
                stream_name_chars: 20,
            };

            type Options = ();
            type SdkClient = ();
            type Requests = ();

            fn client_options((): &()) -> ClientOptions {
                ClientOptions::new(Self::LIMITS.record_bytes)
            }

            fn given((): &()) -> Given {
                Given::default()
            }

            fn connect(_: Base<'_, ()>, _: Connection) {}

            fn requests((): &(), (): &()) {}

            async fn put(
                (): &(),
                _: &StreamName,
                entries: &[Entry<'_>],
                _: Receipts,
            ) -> Result<Vec<Outcome>, SendError> {
                Ok(vec![Outcome::Accepted(None); entries.len()])
            }
        }
    };
}
service!(
    /// Records have partition keys, and streams have ARNs.
    Keyed,
    Some(10),
    Some("test")
);
service!(
    /// Records are data only.
    Plain,
    None,
    None
);
