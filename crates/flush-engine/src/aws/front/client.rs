//! The type of a client, and its methods.

/// Defines the type of a client: a newtype around [`Client`](crate::aws::Client).
///
/// `service` implements [`Service`](crate::aws::Service). The others appear only in the
/// documentation: `crate` names the calling crate, `service_name` the service, and `request` the
/// operation that sends a batch; `record` is a call that records something with a `client`.
///
/// ```text
/// aws_client! {
///     pub struct AmplifyKinesisClient {
///         crate: "amplify_kinesis",
///         service: Kinesis,
///         service_name: "Amazon Kinesis Data Streams",
///         request: "PutRecords",
///         record: r#"client.record("an order", "customer-7", "orders")"#,
///     }
/// }
/// ```
#[macro_export]
macro_rules! aws_client {
    (
        pub struct $client:ident {
            crate: $krate:literal,
            service: $service:ident,
            service_name: $service_name:literal,
            request: $request:literal,
            record: $record:literal,
        }
    ) => {
        #[doc = concat!("A durable client for ", $service_name, ".")]
        ///
        #[doc = concat!(
            "Records are stored in a local cache and delivered in batches by `", $request, "`: on a timer, by"
        )]
        /// [`flush`](Self::flush) or by [`drain`](Self::drain). Clones share one client.
        ///
        /// Dropping the last clone stops the timer and releases the storage a moment later;
        /// [`close`](Self::close) waits for that.
        ///
        /// ```
        #[doc = $crate::aws_example!(@builder $krate)]
        #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
        ///
        /// # let aws = amplify_test_support::FakeAws::start();
        #[doc = concat!("let client = ", stringify!($client), "::builder()")]
        ///     .region("us-east-1")
        ///     .credentials_provider(credentials)
        /// #    .endpoint_url(aws.endpoint_url())
        /// #    .in_memory()
        ///     .build()
        ///     .await?;
        #[doc = concat!($record, ".await?;")]
        /// client.flush().await?;
        /// client.close().await?;
        /// # assert_eq!(aws.delivered_count_of("orders"), 1);
        #[doc = $crate::aws_example!(@end)]
        /// ```
        #[derive(Debug, Clone)]
        pub struct $client(pub(crate) $crate::aws::Client<$service>);
    };
}

/// Implements `create` and `builder`, within an `impl` of a client.
///
/// `crate` names the calling crate, for the examples.
///
/// ```text
/// aws_create!(AmplifyKinesisClient, AmplifyKinesisClientBuilder, AmplifyKinesisError,
///     AmplifyKinesisClientOptions,
///     crate: "amplify_kinesis");
/// ```
#[macro_export]
macro_rules! aws_create {
    (
        $client:ident, $builder:ident, $error:ident, $options:ident,
        crate: $krate:literal $(,)?
    ) => {
        /// Creates a client that stores its records in the default directory.
        ///
        /// ```no_run
        #[doc = $crate::aws_example!(@builder $krate)]
        #[doc = concat!("use ", $krate, "::{", stringify!($client), ", ", stringify!($options), "};")]
        /// use aws_credential_types::Credentials;
        ///
        /// let credentials = Credentials::new("access key", "secret key", None, None, "example");
        #[doc = concat!("let options = ", stringify!($options), "::default();")]
        #[doc = concat!("let client = ", stringify!($client), "::create(\"us-east-1\", credentials, options).await?;")]
        #[doc = $crate::aws_example!(@end)]
        /// ```
        ///
        /// # Errors
        #[doc = concat!("Same as [`", stringify!($builder), "::build`].")]
        ///
        /// # Cancel safety
        /// If the storage was already opened, it is released shortly afterwards.
        pub async fn create(
            region: impl Into<String>,
            credentials: impl $crate::aws::ProvideCredentials + 'static,
            options: $options,
        ) -> Result<Self, $error> {
            let builder = Self::builder().region(region);
            let builder = builder.credentials_provider(credentials);
            builder.options(options).build().await
        }

        /// Returns a builder for a client.
        ///
        /// ```no_run
        #[doc = $crate::aws_example!(@builder $krate)]
        #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
        ///
        /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        #[doc = concat!("let client = ", stringify!($client), "::builder()")]
        ///     .sdk_config(&config)
        ///     .storage_path("/var/lib/shop/records")
        ///     .build()
        ///     .await?;
        #[doc = $crate::aws_example!(@end)]
        /// ```
        pub fn builder() -> $builder {
            $builder::default()
        }
    };
}

/// Implements `record_all`, within an `impl` of a client.
///
/// The type of records is a newtype around [`UncheckedRecord`](crate::aws::UncheckedRecord). The
/// client needs a method `record`, to which the documentation links. `crate`, `order` and `invoice`
/// appear only in the example: the name of the calling crate, and two records for different
/// streams.
///
/// ```text
/// aws_record_all!(AmplifyKinesisClient, AmplifyKinesisError, KinesisRecord,
///     crate: "amplify_kinesis",
///     order: r#"KinesisRecord::new("an order", "customer-7", "orders")"#,
///     invoice: r#"KinesisRecord::new("its invoice", "customer-7", "invoices")"#);
/// ```
#[macro_export]
macro_rules! aws_record_all {
    (
        $client:ident, $error:ident, $record:ident,
        crate: $krate:literal, order: $order:literal, invoice: $invoice:literal $(,)?
    ) => {
        /// Records several records, for one or more streams. On an error, none is stored.
        ///
        /// ```
        #[doc = $crate::aws_example!(@client $krate, $client)]
        #[doc = concat!("use ", $krate, "::", stringify!($record), ";")]
        ///
        /// // An order is never stored without its invoice.
        /// client
        ///     .record_all([
        #[doc = concat!("        ", $order, ",")]
        #[doc = concat!("        ", $invoice, ",")]
        ///     ])
        ///     .await?;
        /// assert_eq!(client.cache_stats().streams.len(), 2);
        #[doc = $crate::aws_example!(@end)]
        /// ```
        ///
        /// # Errors
        /// Same as [`record`](Self::record).
        ///
        /// # Cancel safety
        /// If the future is dropped, either all records are stored or none.
        pub async fn record_all(
            &self,
            records: impl IntoIterator<Item = $record>,
        ) -> Result<$crate::RecordData, $error> {
            let checked = self.0.check(records.into_iter().map(|record| record.0))?;
            Ok(self.0.record(checked).await?)
        }
    };
}

/// Implements the method that returns the SDK client, within an `impl` of a client.
///
/// `sdk` is the service crate of the SDK, with the name of the method. `crate` and `describe`
/// appear only in the example: the name of the calling crate, and the SDK's operation that
/// describes a stream, with the field of its answer.
///
/// ```text
/// aws_sdk_getter!(AmplifyKinesisClient,
///     sdk: aws_sdk_kinesis => kinesis_client,
///     crate: "amplify_kinesis",
///     describe: describe_stream_summary(stream_name) => stream_description_summary);
/// ```
#[macro_export]
macro_rules! aws_sdk_getter {
    (
        $client:ident,
        sdk: $sdk:ident => $method:ident,
        crate: $krate:literal,
        describe: $describe:ident($name:ident) => $description:ident $(,)?
    ) => {
        /// The SDK client, for all other operations of the service.
        ///
        /// ```no_run
        #[doc = $crate::aws_example!(@client $krate, $client)]
        /// let description = client
        #[doc = concat!("    .", stringify!($method), "()")]
        #[doc = concat!("    .", stringify!($describe), "()")]
        #[doc = concat!("    .", stringify!($name), "(\"orders\")")]
        ///     .send()
        ///     .await?;
        #[doc = concat!("println!(\"{:?}\", description.", stringify!($description), "());")]
        #[doc = $crate::aws_example!(@end)]
        /// ```
        #[must_use]
        pub fn $method(&self) -> &$sdk::Client {
            self.0.sdk_client()
        }
    };
}

/// Implements the service-independent methods of a client in an `impl` of their own.
///
/// `crate` and `record` are those of [`aws_client!`](crate::aws_client).
///
/// ```text
/// aws_client_methods!(AmplifyKinesisClient, AmplifyKinesisError, AmplifyKinesisClientOptions,
///     crate: "amplify_kinesis",
///     record: r#"client.record("an order", "customer-7", "orders")"#);
/// ```
#[macro_export]
macro_rules! aws_client_methods {
    (
        $client:ident, $error:ident, $options:ident,
        crate: $krate:literal, record: $record:literal $(,)?
    ) => {
        impl $client {
            /// Sends one batch for each stream with cached records, oldest first, streams in
            /// parallel. Works even while the client is disabled.
            ///
            /// Returns immediately, with
            /// [`flush_in_progress`](crate::FlushData::flush_in_progress), if a pass is already
            /// running. Rejected records and skipped streams are counted, not returned as errors.
            ///
            /// If full batches are left, a timer or adaptive flushing goes on at once with a pass of
            /// its own. To wait for everything, use [`drain`](Self::drain).
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("# ", $record, ".await?;")]
            /// match client.flush().await {
            ///     Ok(flushed) if flushed.flush_in_progress => println!("a flush is already running"),
            ///     Ok(flushed) => println!("{} records delivered", flushed.records_flushed),
            ///     // Usually offline: the records stay cached for a later flush.
            ///     Err(error) => println!("not delivered yet: {error}"),
            /// }
            /// # assert_eq!(aws.delivered_count(), 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// [`Unknown`] if there was no readable response (no network, a timeout, no
            /// credentials), and [`Storage`]; for both, [`flush_data`] says what was done before
            /// the error. [`ClientClosed`]. None of these errors loses a record.
            ///
            /// # Cancel safety
            /// The pass continues even if the future is dropped.
            ///
            #[doc = concat!("[`Unknown`]: ", stringify!($error), "::Unknown")]
            #[doc = concat!("[`Storage`]: ", stringify!($error), "::Storage")]
            #[doc = concat!("[`flush_data`]: ", stringify!($error), "::flush_data")]
            #[doc = concat!("[`ClientClosed`]: ", stringify!($error), "::ClientClosed")]
            pub async fn flush(&self) -> Result<$crate::FlushData, $error> {
                Ok(self.0.flush().await?)
            }

            /// Flushes until the cache is empty, no progress is made, an error occurs, or the deadline
            /// (counted from now) passes. Returns the totals.
            ///
            /// Waits for a running pass first. After the deadline, no new request starts, but
            /// requests in flight finish. A stream is retried after a failure with a backoff of up
            /// to 5 s. Each stream has one request in flight at a time, or as many as
            /// `max_in_flight_per_stream` allows.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("# ", $record, ".await?;")]
            /// use std::time::Duration;
            ///
            /// // A nightly job delivers what it recorded, or reports what is left.
            /// let drained = client.drain(Duration::from_secs(60)).await?;
            /// let left = client.cache_stats().records;
            /// println!("{} records delivered, {left} left", drained.records_flushed);
            /// # assert_eq!((aws.delivered_count(), left), (1, 0));
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// Same as [`flush`](Self::flush).
            ///
            /// # Cancel safety
            /// If the future is dropped, requests in flight finish and no new ones start.
            pub async fn drain(
                &self,
                deadline: ::std::time::Duration,
            ) -> Result<$crate::FlushData, $error> {
                Ok(self.0.drain(deadline).await?)
            }

            /// Deletes all cached records, including those of requests in flight, which may still be
            /// delivered.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("# ", $record, ".await?;")]
            /// // The user signed out and wants nothing more to be sent.
            /// client.disable();
            /// let cleared = client.clear_cache().await?;
            /// println!("{} records deleted", cleared.records_cleared);
            /// # assert_eq!(cleared.records_cleared, 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// [`Storage`] and [`ClientClosed`].
            ///
            /// # Cancel safety
            /// The cache is cleared even if the future is dropped.
            ///
            #[doc = concat!("[`Storage`]: ", stringify!($error), "::Storage")]
            #[doc = concat!("[`ClientClosed`]: ", stringify!($error), "::ClientClosed")]
            pub async fn clear_cache(&self) -> Result<$crate::ClearCacheData, $error> {
                Ok(self.0.clear_cache().await?)
            }

            /// Accepts records again and resumes the timer. Does nothing if the client is already
            /// enabled.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// // The user has agreed to send statistics.
            /// client.enable();
            #[doc = concat!($record, ".await?;")]
            /// assert_eq!(client.cache_stats().records, 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn enable(&self) {
                self.0.enable();
            }

            /// Drops new records from now on and pauses the timer. Cached records stay, and
            /// [`flush`](Self::flush) still sends them.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// client.disable();
            /// // Returns `Ok`, but the record is dropped.
            #[doc = concat!($record, ".await?;")]
            /// assert_eq!(client.cache_stats().records, 0);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn disable(&self) {
                self.0.disable();
            }

            /// Whether records are accepted.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// client.disable();
            /// if !client.is_enabled() {
            ///     println!("recording is switched off");
            /// }
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn is_enabled(&self) -> bool {
                self.0.is_enabled()
            }

            /// Whether [`close`](Self::close) was called on any clone.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// let clone = client.clone();
            /// client.close().await?;
            /// assert!(clone.is_closed());
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }

            /// Delivers cached records like [`drain`](Self::drain), within the given time, and then
            /// closes the client in any case. Returns what was delivered; the rest stays on disk.
            ///
            /// Once the call has begun, no more records are accepted: all other operations return
            /// [`ClientClosed`]. Calling [`close`](Self::close) ends the drain. A second
            /// `close_with` waits for the first, up to its own limit, and reports no deliveries.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("# ", $record, ".await?;")]
            #[doc = concat!("use ", $krate, "::CloseOptions;")]
            /// use std::time::Duration;
            ///
            /// let options = CloseOptions::default().drain(Duration::from_secs(5));
            /// match client.close_with(options).await {
            ///     Ok(last) => println!("{} records delivered before the end", last.records_flushed),
            ///     // The client is closed. The next run delivers what is left on disk.
            ///     Err(error) => println!("closed; not everything was delivered: {error}"),
            /// }
            /// # assert_eq!(aws.delivered_count(), 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// Same as [`drain`](Self::drain), with what was delivered before the error, plus
            /// [`Storage`] if the last writes could not be made durable. The client is closed in
            /// any case.
            ///
            /// # Cancel safety
            /// The client drains and closes even if the future is dropped.
            ///
            #[doc = concat!("[`ClientClosed`]: ", stringify!($error), "::ClientClosed")]
            #[doc = concat!("[`Storage`]: ", stringify!($error), "::Storage")]
            pub async fn close_with(
                &self,
                options: $crate::CloseOptions,
            ) -> Result<$crate::FlushData, $error> {
                Ok(self.0.close_with(options).await?)
            }

            /// Stops the timer, waits for requests in flight (each takes at most
            /// [`request_timeout`]), and releases the storage. The same directory can then be
            /// reopened immediately.
            ///
            /// Records that are still cached stay on disk. Concurrent calls all wait; later calls do
            /// nothing.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// if let Err(error) = client.close().await {
            ///     println!("the last writes may not survive a power loss: {error}");
            /// }
            /// // The directory of the cache is free for the next client.
            /// assert!(client.flush().await.is_err());
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// [`Storage`] if the last writes could not be made durable. The client is closed in
            /// any case.
            ///
            /// # Cancel safety
            /// The client closes even if the future is dropped.
            ///
            #[doc = concat!("[`request_timeout`]: ", stringify!($options), "::request_timeout")]
            #[doc = concat!("[`Storage`]: ", stringify!($error), "::Storage")]
            pub async fn close(&self) -> Result<(), $error> {
                Ok(self.0.close().await?)
            }

            /// The region.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// // From the builder, or else from the SDK's configuration.
            /// assert_eq!(client.region(), "us-east-1");
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn region(&self) -> &str {
                self.0.region()
            }

            /// The options that the client was created with.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// let stats = client.cache_stats();
            /// let used = 100 * stats.bytes / client.options().cache_max_bytes;
            /// println!("{used} % of the cache is used");
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn options(&self) -> &$options {
                self.0.options()
            }

            /// The directory of this client's cache, if the client opened one.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            /// match client.storage_path() {
            ///     Some(directory) => println!("records wait in {}", directory.display()),
            ///     None => println!("records do not wait in a directory"),
            /// }
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn storage_path(&self) -> Option<&::std::path::Path> {
                self.0.storage_path()
            }

            /// Where this client's cache is stored: in a directory, in memory, or in a browser's
            /// database.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("use ", $krate, "::StoragePlace;")]
            ///
            /// match client.storage() {
            ///     StoragePlace::Memory => println!("records are lost when the program ends"),
            ///     StoragePlace::Directory(path) => println!("records survive in {}", path.display()),
            ///     other => println!("records are kept in a {}", other.kind()),
            /// }
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn storage(&self) -> &$crate::StoragePlace {
                self.0.storage()
            }

            /// The contents of the cache, from counters; reads no storage. After closing, returns
            /// the last values.
            ///
            /// ```
            #[doc = $crate::aws_example!(@client $krate, $client)]
            #[doc = concat!("# ", $record, ".await?;")]
            /// let stats = client.cache_stats();
            /// println!("{} records wait, {} bytes", stats.records, stats.bytes);
            /// for stream in &stats.streams {
            ///     println!("{}: {} records", stream.stream_name, stream.records);
            /// }
            /// # assert_eq!(stats.streams[0].records, 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[must_use]
            pub fn cache_stats(&self) -> $crate::CacheStats {
                self.0.cache_stats()
            }
        }
    };
}
