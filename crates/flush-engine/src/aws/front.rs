//! The methods that the public types of all clients share.
//!
//! Each client has its own types, so its docs and errors can name its service. Their methods are
//! written once, here.

/// Implements the service-independent methods on a newtype around [`Client`](crate::aws::Client).
///
/// `crate` and `record` appear only in the examples of the methods: the name of the calling crate,
/// and a call that records something with a `client`.
///
/// ```text
/// aws_client!(AmplifyKinesisClient, AmplifyKinesisError, AmplifyKinesisClientOptions,
///     crate: "amplify_kinesis",
///     record: r#"client.record("an order", "customer-7", "orders").await?;"#);
/// ```
#[macro_export]
macro_rules! aws_client {
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
            #[doc = concat!("# ", $record)]
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
            #[doc = concat!("# ", $record)]
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
            #[doc = concat!("# ", $record)]
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
            #[doc = $record]
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
            #[doc = $record]
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
            #[doc = concat!("# ", $record)]
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
            #[doc = concat!("# ", $record)]
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

/// Implements the service-independent settings and `build` on a newtype around
/// [`ClientBuilder`](crate::aws::ClientBuilder).
///
/// The calling crate must have a feature `journal`. `crate` and `record` are those of
/// [`aws_client!`](crate::aws_client).
///
/// ```text
/// aws_builder!(AmplifyKinesisClientBuilder, AmplifyKinesisClient, AmplifyKinesisError,
///     AmplifyKinesisClientOptions,
///     crate: "amplify_kinesis",
///     record: r#"client.record("an order", "customer-7", "orders").await?;"#);
/// ```
#[macro_export]
macro_rules! aws_builder {
    (
        $builder:ident, $client:ident, $error:ident, $options:ident,
        crate: $krate:literal, record: $record:literal $(,)?
    ) => {
        impl $builder {
            /// Sets the region, like `us-east-1`.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("eu-central-1")
            ///     .credentials_provider(credentials)
            ///     .in_memory()
            ///     .build()
            ///     .await?;
            /// assert_eq!(client.region(), "eu-central-1");
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn region(self, region: impl Into<String>) -> Self {
                Self(self.0.region(region.into()))
            }

            /// Sets the credentials provider.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            /// use aws_credential_types::Credentials;
            ///
            /// // Any provider will do; this one never renews its keys.
            /// let credentials = Credentials::new("access key", "secret key", None, None, "example");
            #[doc = concat!("let builder = ", stringify!($client), "::builder().credentials_provider(credentials);")]
            /// # builder.region("us-east-1").in_memory().build().await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn credentials_provider(
                self,
                provider: impl $crate::aws::ProvideCredentials + 'static,
            ) -> Self {
                let provider = $crate::aws::SharedCredentialsProvider::new(provider);
                Self(self.0.credentials_provider(provider))
            }

            /// Takes region, credentials, endpoint, HTTP client, retries and timeouts from an SDK
            /// configuration, such as one from `aws_config::load_defaults`.
            ///
            /// ```no_run
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            ///     .profile_name("shop")
            ///     .load()
            ///     .await;
            #[doc = concat!("let client = ", stringify!($client), "::builder().sdk_config(&config).build().await?;")]
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn sdk_config(self, config: &$crate::aws::SdkConfig) -> Self {
                Self(self.0.sdk_config(config.clone()))
            }

            /// Sends requests to this URL instead of the region's endpoint.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// // LocalStack on this machine.
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .endpoint_url("http://localhost:4566")
            ///     .in_memory()
            ///     .build()
            ///     .await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn endpoint_url(self, url: impl Into<String>) -> Self {
                Self(self.0.endpoint_url(url.into()))
            }

            /// Names the default directory, under the platform's local data directory. The default
            /// is the executable's name. Has no effect if another storage is chosen, but must be
            /// valid: 1 to 64 of `[A-Za-z0-9_.-]`, the first no dot.
            ///
            /// Several instances of a program may share the default directory. If one program has
            /// two clients for the same region and endpoint, say for two accounts, give each its
            /// own name.
            ///
            /// ```no_run
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// # let audit_account = credentials.clone();
            /// // One client for each account, each with a directory of its own.
            #[doc = concat!("let builder = ", stringify!($client), "::builder().region(\"us-east-1\");")]
            /// let orders = builder.clone().credentials_provider(credentials).name("orders").build().await?;
            /// let audit = builder.credentials_provider(audit_account).name("audit").build().await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn name(self, name: impl Into<String>) -> Self {
                Self(self.0.name(name.into()))
            }

            /// Stores records in this directory, which only one client may use at a time. Creates
            /// it if needed.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .storage_path(directory) // say /var/lib/shop/records
            ///     .build()
            ///     .await?;
            /// assert_eq!(client.storage_path(), Some(directory));
            /// # client.close().await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn storage_path(self, path: impl Into<::std::path::PathBuf>) -> Self {
                Self(self.0.storage_path(path.into()))
            }

            /// Stores records in memory; they do not survive the process.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// // A machine without a writable disk. Make the last flush before the program ends.
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .in_memory()
            ///     .build()
            ///     .await?;
            /// assert_eq!(client.storage_path(), None);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn in_memory(self) -> Self {
                Self(self.0.in_memory())
            }

            /// Stores records in a [`JournalStore`](crate::JournalStore) in this directory, which
            /// only one client may use at a time. Creates it if needed.
            ///
            /// The file format is the same as with `storage_path`, so each setting can open the
            /// other's directory. The index is kept in memory, which uses the least CPU and 24
            /// bytes per waiting record. A directory with any other contents is refused.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .journal(directory) // say /var/lib/shop/records
            ///     .build()
            ///     .await?;
            /// assert_eq!(client.storage_path(), Some(directory));
            /// # client.close().await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[cfg(feature = "journal")]
            pub fn journal(self, path: impl Into<::std::path::PathBuf>) -> Self {
                Self(self.0.journal(path.into()))
            }

            /// Stores records in the default directory, in a [`JournalStore`](crate::JournalStore).
            ///
            /// Everything else works as usual (slots for several instances, their adoption,
            /// [`name`](Self::name)), and records already cached there are kept. Only the index is
            /// in memory.
            ///
            /// ```no_run
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            ///
            /// // For a program that records much and has memory to spare.
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .in_journal()
            ///     .build()
            ///     .await?;
            #[doc = $crate::aws_example!(@end)]
            /// ```
            #[cfg(feature = "journal")]
            pub fn in_journal(self) -> Self {
                Self(self.0.in_journal())
            }

            /// Stores records in the given store. Closing the client closes the store.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::", stringify!($client), ";")]
            #[doc = concat!("use ", $krate, "::{MemoryStore, RecordStore};")]
            /// use std::sync::Arc;
            ///
            /// // A test that looks into the store.
            /// let store = Arc::new(MemoryStore::new());
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .store(store.clone())
            ///     .build()
            ///     .await?;
            #[doc = $record]
            /// assert_eq!(store.stats().records(), 1);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn store(self, store: ::std::sync::Arc<dyn $crate::aws::RecordStore>) -> Self {
                Self(self.0.store(store))
            }

            /// Sets the options.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::{", stringify!($client), ", ", stringify!($options), "};")]
            ///
            #[doc = concat!("let options = ", stringify!($options), "::default().cache_max_bytes(64 * 1024 * 1024);")]
            #[doc = concat!("let client = ", stringify!($client), "::builder()")]
            ///     .region("us-east-1")
            ///     .credentials_provider(credentials)
            ///     .in_memory()
            ///     .options(options)
            ///     .build()
            ///     .await?;
            /// assert_eq!(client.options().cache_max_bytes, 64 * 1024 * 1024);
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn options(self, options: $options) -> Self {
                Self(self.0.options(options))
            }

            /// Opens the storage and starts the client in the current tokio runtime, or in the
            /// page.
            ///
            /// ```
            #[doc = $crate::aws_example!(@builder $krate)]
            #[doc = concat!("use ", $krate, "::{", stringify!($client), ", ", stringify!($error), "};")]
            ///
            #[doc = concat!("let built = ", stringify!($client), "::builder().in_memory().build().await;")]
            /// match built {
            ///     Ok(client) => println!("started in {}", client.region()),
            #[doc = concat!("    Err(error @ ", stringify!($error), "::Validation { .. }) => {")]
            ///         // Here: there is no credentials provider.
            ///         println!("wrong settings: {error}; {}", error.recovery_suggestion());
            ///     }
            ///     Err(error) => println!("the storage cannot be used: {error}"),
            /// }
            #[doc = $crate::aws_example!(@end)]
            /// ```
            ///
            /// # Errors
            /// [`Validation`], naming the setting, if a value is zero or out of range, two storages
            /// were chosen, the region or the credentials provider is missing, another client of
            /// this process uses the default directory, or there is no tokio runtime. [`Storage`]
            /// if the directory is in use or cannot be used.
            ///
            /// # Cancel safety
            /// If the storage was already opened, it is released shortly afterwards.
            ///
            #[doc = concat!("[`Validation`]: ", stringify!($error), "::Validation")]
            #[doc = concat!("[`Storage`]: ", stringify!($error), "::Storage")]
            pub async fn build(self) -> Result<$client, $error> {
                Ok($client(self.0.build().await?))
            }
        }
    };
}

/// The hidden lines of an example in the documentation of a client.
///
/// The calling crate needs `amplify-test-support`, `aws-credential-types` and `tokio` for its tests.
#[doc(hidden)]
#[macro_export]
macro_rules! aws_example {
    (@builder $krate:literal) => {
        concat!(
            "# use ", $krate, "::*;\n",
            "# #[tokio::main]\n",
            "# async fn main() -> Result<(), Box<dyn std::error::Error>> {\n",
            "# let credentials = aws_credential_types::Credentials::new(\n",
            "#     \"access key\", \"secret key\", None, None, \"example\",\n",
            "# );",
        )
    };
    // Requests go to an endpoint on this machine.
    (@client $krate:literal, $client:ident) => {
        concat!(
            $crate::aws_example!(@builder $krate),
            "\n# let aws = amplify_test_support::FakeAws::start();\n",
            "# let client = ", stringify!($client), "::builder()\n",
            "#     .region(\"us-east-1\")\n",
            "#     .credentials_provider(credentials)\n",
            "#     .endpoint_url(aws.endpoint_url())\n",
            "#     .in_memory()\n",
            "#     .build()\n",
            "#     .await?;",
        )
    };
    (@end) => {
        "# Ok(())\n# }"
    };
}
