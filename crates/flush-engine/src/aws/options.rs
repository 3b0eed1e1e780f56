//! The settings that all clients share.

use std::num::NonZeroU64;
use std::time::Duration;

use record_cache::Durability;

use crate::aws::Service;
use crate::aws::wire::Receipts;
use crate::{
    DeliveredHandler, DiscardHandler, EngineOptions, FlushStrategy, InvalidSetting, OverflowPolicy,
    non_zero_bytes, non_zero_count, non_zero_time,
};

/// The smallest cache size: room for one record.
const LEAST_CACHE_BYTES: NonZeroU64 = NonZeroU64::new(16).expect("not zero");

/// The settings of all clients, before validation.
///
/// A client's own options are created by [`aws_options!`](crate::aws_options).
///
/// ```
/// use flush_engine::OverflowPolicy;
/// use flush_engine::aws::ClientOptions;
///
/// let mut options = ClientOptions::new(1 << 20);
/// options.overflow_policy = OverflowPolicy::DropOldest;
/// assert_eq!(options.max_record_bytes, 1 << 20);
/// ```
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in the options of each client")]
pub struct ClientOptions {
    pub cache_max_bytes: u64,
    pub max_retries: u32,
    pub flush_strategy: FlushStrategy,
    pub durability: Durability,
    pub request_timeout: Duration,
    pub max_record_bytes: u64,
    pub max_concurrent_streams: usize,
    pub overflow_policy: OverflowPolicy,
    pub max_record_age: Option<Duration>,
    pub max_in_flight_per_stream: usize,
    pub max_stream_share: Option<u64>,
    pub on_discard: Option<DiscardHandler>,
    pub on_delivered: Option<DeliveredHandler>,
}

impl ClientOptions {
    /// The defaults for a client with this limit on record size.
    #[must_use]
    pub fn new(max_record_bytes: u64) -> Self {
        let engine = EngineOptions::DEFAULT;
        Self {
            cache_max_bytes: engine.cache_max_bytes.get(),
            max_retries: engine.max_retries,
            flush_strategy: engine.flush_strategy,
            durability: Durability::default(),
            request_timeout: engine.request_timeout,
            max_record_bytes,
            max_concurrent_streams: engine.max_concurrent_streams.get(),
            overflow_policy: engine.overflow_policy,
            max_record_age: engine.max_record_age,
            max_in_flight_per_stream: engine.max_in_flight_per_stream.get(),
            max_stream_share: engine.max_stream_share,
            on_discard: None,
            on_delivered: None,
        }
    }

    /// Whether to read receipts from responses; only `on_delivered` needs them.
    #[must_use]
    pub const fn receipts(&self) -> Receipts {
        match self.on_delivered {
            Some(_) => Receipts::Read,
            None => Receipts::Skip,
        }
    }

    /// Validates the settings and returns the engine's part of them.
    pub(crate) fn checked<S: Service>(&self) -> Result<EngineOptions, InvalidSetting> {
        let most = S::LIMITS.record_bytes;
        non_zero_bytes("max_record_bytes", self.max_record_bytes)?;
        if self.max_record_bytes > most {
            return Err(InvalidSetting::new(
                "max_record_bytes",
                format!("the service accepts records of at most {most} bytes"),
                format!("set max_record_bytes to {most} or less"),
            ));
        }
        let cache_max_bytes = non_zero_bytes("cache_max_bytes", self.cache_max_bytes)?;
        if cache_max_bytes < LEAST_CACHE_BYTES {
            return Err(InvalidSetting::new(
                "cache_max_bytes",
                "is too small for any record: each counts as at least 16 bytes",
                "set cache_max_bytes to 16 or more",
            ));
        }
        Ok(EngineOptions {
            client: S::NAME,
            cache_max_bytes,
            max_retries: self.max_retries,
            flush_strategy: self.flush_strategy.checked()?,
            request_timeout: non_zero_time("request_timeout", self.request_timeout)?,
            max_concurrent_streams: non_zero_count(
                "max_concurrent_streams",
                self.max_concurrent_streams,
            )?,
            overflow_policy: self.overflow_policy,
            max_record_age: self
                .max_record_age
                .map(|age| non_zero_time("max_record_age", age))
                .transpose()?,
            max_in_flight_per_stream: non_zero_count(
                "max_in_flight_per_stream",
                self.max_in_flight_per_stream,
            )?,
            max_stream_share: self
                .max_stream_share
                .map(|share| non_zero_bytes("max_stream_share", share).map(NonZeroU64::get))
                .transpose()?,
            on_discard: self.on_discard.clone(),
            on_delivered: self.on_delivered.clone(),
            ..EngineOptions::DEFAULT
        })
    }
}

/// Defines the options of a client: a struct with public fields and setters of the same names.
///
/// `crate` names the calling crate, `client` the type of the client, `request` the operation that
/// sends a batch, and `record_limit` says how large a record may be; all four only appear in the
/// documentation. `delivered` is the argument type of `on_delivered`, converted from
/// [`DeliveredRecord`](crate::DeliveredRecord). Settings specific to this client follow, with their
/// defaults. Doc comments on the struct follow the documentation that all options share.
///
/// ```
/// flush_engine::aws_options! {
///     /// Records may be compressed.
///     pub struct MyOptions {
///         crate: "my_client",
///         client: MyClient,
///         max_record_bytes: 1024 * 1024,
///         request: "PutRecords",
///         record_limit: "Maximum bytes of a record. Default: 1 MiB.",
///         delivered: flush_engine::DeliveredRecord,
///         /// Whether records are compressed. Default: no.
///         compressed: bool = false,
///     }
/// }
///
/// let options = MyOptions::default().max_retries(3).compressed(true);
/// assert_eq!(options.max_record_bytes, 1024 * 1024);
/// ```
#[macro_export]
macro_rules! aws_options {
    (
        $(#[$meta:meta])*
        pub struct $options:ident {
            crate: $krate:literal,
            client: $client:ident,
            max_record_bytes: $max_record_bytes:expr,
            request: $request:literal,
            record_limit: $record_limit:literal,
            delivered: $delivered:ty,
            $(
                $(#[$own_doc:meta])*
                $own:ident: $own_type:ty = $own_default:expr,
            )*
        }
    ) => {
        #[doc = concat!("Settings of an [`", stringify!($client), "`](crate::", stringify!($client), ").")]
        ///
        /// ```
        /// use std::time::Duration;
        #[doc = concat!("use ", $krate, "::{", stringify!($options), ", FlushStrategy};")]
        ///
        #[doc = concat!("let options = ", stringify!($options), "::default()")]
        ///     .cache_max_bytes(10 * 1024 * 1024)
        ///     .max_retries(3)
        ///     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)));
        /// assert_eq!(options.max_retries, 3);
        /// ```
        ///
        $(#[$meta])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $options {
            /// Maximum bytes of records (data and partition keys, if any) to cache. Also limits the
            /// number of records, to one per 16 bytes. At least 16. Default: 5 MiB.
            pub cache_max_bytes: u64,
            /// How often a record is retried before it is discarded, counting each time that the
            /// service rejects it, or refuses a request that cannot succeed: bad contents, or no
            /// such stream. Being offline does not count, nor do throttling, failures of the
            /// service, or refused credentials; see
            /// [the guide](crate::guide#what-counts-as-an-attempt). Default: 5.
            pub max_retries: u32,
            /// When records are delivered automatically. Default: every 30 seconds.
            pub flush_strategy: $crate::FlushStrategy,
            /// What stored records survive. Default: power loss.
            pub durability: $crate::aws::Durability,
            #[doc = concat!(
                "How long one `", $request, "` call may take, the SDK's own retries included. ",
                "Default: 30 seconds."
            )]
            pub request_timeout: ::std::time::Duration,
            #[doc = $record_limit]
            pub max_record_bytes: u64,
            /// Maximum number of streams to send to at the same time. Default: 8.
            pub max_concurrent_streams: usize,
            /// What happens when a record does not fit into the cache. Default: it is refused.
            pub overflow_policy: $crate::OverflowPolicy,
            /// The next flush discards older records instead of sending them. Default: no limit.
            ///
            /// Age is measured by the system clock. For a record of this process, the monotonic clock
            /// counts if it gives a lower age. If the system clock was set back after recording, a
            /// record's age counts from when a flush first finds it.
            pub max_record_age: Option<::std::time::Duration>,
            /// Maximum number of batches of one stream in flight at the same time, for `drain` and
            /// [`FlushStrategy::Adaptive`](crate::FlushStrategy::Adaptive); a flush sends one.
            /// Values above 1 give up the order of records within a stream, for speed where
            /// requests are slow. After a failure, batches are sent one by one until one succeeds.
            /// Default: 1.
            pub max_in_flight_per_stream: usize,
            /// Maximum bytes of the cache that one stream may use. Default: all of them.
            ///
            /// With a limit, a stream that cannot be delivered leaves room for the others.
            pub max_stream_share: Option<u64>,
            $(
                $(#[$own_doc])*
                pub $own: $own_type,
            )*
            on_discard: Option<$crate::DiscardHandler>,
            on_delivered: Option<$crate::DeliveredHandler>,
        }

        impl $options {
            $crate::aws_options! { @setters $krate $options
                cache_max_bytes: u64,
                    "// Room for an hour offline, at 20 records of 500 bytes per second.",
                    "36_000_000";
                max_retries: u32,
                    "// Keep trying while someone may still create the stream.",
                    "100";
                flush_strategy: $crate::FlushStrategy,
                    "// A command-line program delivers when it ends, by `drain`.",
                    "FlushStrategy::None";
                durability: $crate::aws::Durability,
                    "// Clicks, of which a machine crash may take the last few.",
                    "Durability::ProcessCrash";
                request_timeout: ::std::time::Duration,
                    "// A slow mobile link.",
                    "Duration::from_secs(120)";
                max_record_bytes: u64,
                    "// No reader of these streams takes more.",
                    "256 * 1024";
                max_concurrent_streams: usize,
                    "// Records go to a hundred streams, few at a time to each.",
                    "32";
                overflow_policy: $crate::OverflowPolicy,
                    "// A pipeline: `record` waits for room, and so slows down its source.",
                    "OverflowPolicy::Wait { at_most: Duration::from_secs(30) }";
                max_in_flight_per_stream: usize,
                    "// Many events that need no order, over a link with a long round trip.",
                    "4";
            }
            $(
                #[doc = concat!("Sets [`", stringify!($own), "`](Self#structfield.", stringify!($own), ").")]
                #[must_use]
                pub fn $own(mut self, $own: impl Into<$own_type>) -> Self {
                    self.$own = $own.into();
                    self
                }
            )*

            /// Sets [`max_record_age`](Self#structfield.max_record_age): a duration, or `None`.
            ///
            /// ```
            #[doc = concat!("# use ", $krate, "::*;")]
            /// # use std::time::Duration;
            /// // Positions of vehicles are of no use after ten minutes.
            #[doc = concat!("let options = ", stringify!($options), "::default()")]
            ///     .max_record_age(Duration::from_secs(10 * 60));
            /// assert_eq!(options.max_record_age, Some(Duration::from_secs(600)));
            /// ```
            #[must_use]
            pub fn max_record_age(mut self, age: impl Into<Option<::std::time::Duration>>) -> Self {
                self.max_record_age = age.into();
                self
            }

            /// Sets [`max_stream_share`](Self#structfield.max_stream_share): bytes, or `None`.
            ///
            /// ```
            #[doc = concat!("# use ", $krate, "::*;")]
            /// // A stream that no one has created yet leaves three quarters to the others.
            #[doc = concat!("let options = ", stringify!($options), "::default()")]
            ///     .cache_max_bytes(64 * 1024 * 1024)
            ///     .max_stream_share(16 * 1024 * 1024);
            /// # assert_eq!(options.max_stream_share, Some(16 << 20));
            /// ```
            #[must_use]
            pub fn max_stream_share(mut self, bytes: impl Into<Option<u64>>) -> Self {
                self.max_stream_share = bytes.into();
                self
            }

            /// Calls a function with every discarded record before deleting the record, and again
            /// if the process crashes in between. The function should be quick; panics in it are
            /// caught.
            ///
            /// Within the function, `drain`, `clear_cache`, `close` and `close_with` of the same
            /// client return `Validation` immediately, because they would wait for the function
            /// itself. If the function has another thread or task call them, it must not wait for
            /// that call: this would deadlock.
            ///
            /// ```
            #[doc = concat!("# use ", $krate, "::*;")]
            #[doc = concat!("let options = ", stringify!($options), "::default().on_discard(|record| {")]
            ///     let bytes = record.data.len();
            ///     eprintln!("{} lost {bytes} bytes: {:?}", record.stream_name, record.reason);
            /// });
            /// ```
            ///
            /// The example `dead_letter` of the repository keeps discarded records in a file, from
            /// which it sends them again.
            #[must_use]
            pub fn on_discard(
                mut self,
                handler: impl Fn($crate::DiscardedRecord) + Send + Sync + 'static,
            ) -> Self {
                self.on_discard = Some($crate::DiscardHandler::new(handler));
                self
            }

            /// Calls a function with every record that the service accepted, and the service's
            /// receipt for it, before deleting the record from the cache.
            ///
            /// The function is called once for each acceptance that the client learns of. It is
            /// called again for a record that was resent, for example because the process ended
            /// before the record was deleted. Calls follow the order in which a stream's records
            /// were sent; with `max_in_flight_per_stream` above 1, batches may be reported in a
            /// different order. Parsing the receipts costs some CPU.
            ///
            /// The function should be quick: delivery of the stream waits for it. Panics in it are
            /// caught. It may make the same calls as [`on_discard`](Self::on_discard).
            ///
            /// ```
            #[doc = concat!("# use ", $krate, "::*;")]
            /// use std::sync::Arc;
            /// use std::sync::atomic::{AtomicU64, Ordering};
            ///
            /// let delivered = Arc::new(AtomicU64::new(0));
            /// let count = Arc::clone(&delivered);
            #[doc = concat!("let options = ", stringify!($options), "::default().on_delivered(move |record| {")]
            ///     count.fetch_add(1, Ordering::Relaxed);
            ///     println!("delivered: {record:?}");
            /// });
            /// ```
            #[must_use]
            pub fn on_delivered(
                mut self,
                handler: impl Fn($delivered) + Send + Sync + 'static,
            ) -> Self {
                let handler = move |record: $crate::DeliveredRecord| handler(record.into());
                self.on_delivered = Some($crate::DeliveredHandler::new(handler));
                self
            }
        }

        impl Default for $options {
            fn default() -> Self {
                $crate::aws::ClientOptions::new($max_record_bytes).into()
            }
        }

        $crate::aws_options! { @same $options:
            cache_max_bytes, max_retries, flush_strategy, durability, request_timeout,
            max_record_bytes, max_concurrent_streams, overflow_policy, max_record_age,
            max_in_flight_per_stream, max_stream_share, on_discard, on_delivered;
            $($own = $own_default,)*
        }
    };
    (@setters $krate:literal $options:ident $(
        $field:ident: $type:ty, $why:literal, $example:literal;
    )+) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
        ///
        /// ```
        #[doc = concat!("# use ", $krate, "::*;")]
        /// # use std::time::Duration;
        #[doc = $why]
        #[doc = concat!("let options = ", stringify!($options), "::default()")]
        #[doc = concat!("    .", stringify!($field), "(", $example, ");")]
        #[doc = concat!("# assert_eq!(options.", stringify!($field), ", ", $example, ");")]
        /// ```
        #[must_use]
        pub const fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )+};
    (@same $options:ident: $($field:ident),+; $($own:ident = $default:expr,)*) => {
        impl From<$crate::aws::ClientOptions> for $options {
            fn from(options: $crate::aws::ClientOptions) -> Self {
                Self { $($field: options.$field,)+ $($own: $default,)* }
            }
        }

        impl From<$options> for $crate::aws::ClientOptions {
            fn from(options: $options) -> Self {
                Self { $($field: options.$field,)+ }
            }
        }
    };
}
