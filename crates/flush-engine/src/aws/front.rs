//! The methods that the public types of all clients share.
//!
//! Each client has its own types, so its docs and errors can name its service. Their methods are
//! written once, here.

/// Implements the service-independent methods on a newtype around [`Client`](crate::aws::Client).
///
/// ```text
/// aws_client!(AmplifyKinesisClient, AmplifyKinesisError, AmplifyKinesisClientOptions);
/// ```
#[macro_export]
macro_rules! aws_client {
    ($client:ident, $error:ident, $options:ident) => {
        impl $client {
            /// Sends one batch for each stream with cached records, oldest first, streams in
            /// parallel. Works even while the client is disabled.
            ///
            /// Returns immediately, with
            /// [`flush_in_progress`](crate::FlushData::flush_in_progress), if a pass is already
            /// running. Rejected records and skipped streams are counted, not returned as errors.
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
            pub fn enable(&self) {
                self.0.enable();
            }

            /// Drops new records from now on and pauses the timer. Cached records stay, and
            /// [`flush`](Self::flush) still sends them.
            pub fn disable(&self) {
                self.0.disable();
            }

            /// Whether records are accepted.
            #[must_use]
            pub fn is_enabled(&self) -> bool {
                self.0.is_enabled()
            }

            /// Whether [`close`](Self::close) was called on any clone.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }

            /// Delivers cached records like [`drain`](Self::drain), within the given time, and then
            /// closes the client in any case. Returns what was delivered; the rest stays on disk.
            /// See the [guide](crate::guide) for an example.
            ///
            /// Once the call has begun, no more records are accepted: all other operations return
            /// [`ClientClosed`]. Calling [`close`](Self::close) ends the drain. A second
            /// `close_with` waits for the first, up to its own limit, and reports no deliveries.
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
            #[must_use]
            pub fn region(&self) -> &str {
                self.0.region()
            }

            /// The options that the client was created with.
            #[must_use]
            pub fn options(&self) -> &$options {
                self.0.options()
            }

            /// The directory of this client's cache, if the client opened one.
            #[must_use]
            pub fn storage_path(&self) -> Option<&::std::path::Path> {
                self.0.storage_path()
            }

            /// Where this client's cache is stored: in a directory, in memory, or in a browser's
            /// database.
            #[must_use]
            pub fn storage(&self) -> &$crate::StoragePlace {
                self.0.storage()
            }

            /// The contents of the cache, from counters; reads no storage. After closing, returns
            /// the last values.
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
/// The calling crate must have a feature `journal`.
///
/// ```text
/// aws_builder!(AmplifyKinesisClientBuilder, AmplifyKinesisClient, AmplifyKinesisError,
///     AmplifyKinesisClientOptions);
/// ```
#[macro_export]
macro_rules! aws_builder {
    ($builder:ident, $client:ident, $error:ident, $options:ident) => {
        impl $builder {
            /// Sets the region, like `us-east-1`.
            pub fn region(self, region: impl Into<String>) -> Self {
                Self(self.0.region(region.into()))
            }

            /// Sets the credentials provider.
            pub fn credentials_provider(
                self,
                provider: impl $crate::aws::ProvideCredentials + 'static,
            ) -> Self {
                let provider = $crate::aws::SharedCredentialsProvider::new(provider);
                Self(self.0.credentials_provider(provider))
            }

            /// Takes region, credentials, endpoint, HTTP client, retries and timeouts from an SDK
            /// configuration, such as one from `aws_config::load_defaults`.
            pub fn sdk_config(self, config: &$crate::aws::SdkConfig) -> Self {
                Self(self.0.sdk_config(config.clone()))
            }

            /// Sends requests to this URL instead of the region's endpoint.
            pub fn endpoint_url(self, url: impl Into<String>) -> Self {
                Self(self.0.endpoint_url(url.into()))
            }

            /// Names the default directory, under the platform's local data directory. The default
            /// is the executable's name. Has no effect if another storage is chosen.
            ///
            /// Several instances of a program may share the default directory. If one program has
            /// two clients for the same region and endpoint, say for two accounts, give each its
            /// own name.
            pub fn name(self, name: impl Into<String>) -> Self {
                Self(self.0.name(name.into()))
            }

            /// Stores records in this directory, which only one client may use at a time. Creates
            /// it if needed.
            pub fn storage_path(self, path: impl Into<::std::path::PathBuf>) -> Self {
                Self(self.0.storage_path(path.into()))
            }

            /// Stores records in memory; they do not survive the process.
            pub fn in_memory(self) -> Self {
                Self(self.0.in_memory())
            }

            /// Stores records in a [`JournalStore`](crate::JournalStore) in this directory, which
            /// only one client may use at a time. Creates it if needed.
            ///
            /// The file format is the same as with `storage_path`, so each setting can open the
            /// other's directory. The index is kept in memory, which uses the least CPU and 24
            /// bytes per waiting record. A directory with any other contents is refused.
            #[cfg(feature = "journal")]
            pub fn journal(self, path: impl Into<::std::path::PathBuf>) -> Self {
                Self(self.0.journal(path.into()))
            }

            /// Stores records in the default directory, in a [`JournalStore`](crate::JournalStore).
            ///
            /// Everything else works as usual (slots for several instances, their adoption,
            /// [`name`](Self::name)), and records already cached there are kept. Only the index is
            /// in memory.
            #[cfg(feature = "journal")]
            pub fn in_journal(self) -> Self {
                Self(self.0.in_journal())
            }

            /// Stores records in the given store. Closing the client closes the store.
            pub fn store(self, store: ::std::sync::Arc<dyn $crate::aws::RecordStore>) -> Self {
                Self(self.0.store(store))
            }

            /// Sets the options.
            pub fn options(self, options: $options) -> Self {
                Self(self.0.options(options))
            }

            /// Opens the storage and starts the client in the current tokio runtime, or in the
            /// page.
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
