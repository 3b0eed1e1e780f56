//! The builder of a client.

/// Defines the builder of a client: a newtype around [`ClientBuilder`](crate::aws::ClientBuilder)
/// with all its methods.
///
/// The calling crate must have a feature `journal`. `sdk` is the service crate of the SDK, with the
/// name of the method that takes an SDK client. `crate`, `service` and `record` are those of
/// [`aws_client!`](crate::aws_client).
///
/// ```text
/// aws_builder! {
///     pub struct AmplifyKinesisClientBuilder {
///         crate: "amplify_kinesis",
///         service: Kinesis,
///         sdk: aws_sdk_kinesis => kinesis_client,
///         client: AmplifyKinesisClient,
///         error: AmplifyKinesisError,
///         options: AmplifyKinesisClientOptions,
///         record: r#"client.record("an order", "customer-7", "orders")"#,
///     }
/// }
/// ```
#[macro_export]
macro_rules! aws_builder {
    (
        pub struct $builder:ident {
            crate: $krate:literal,
            service: $service:ident,
            sdk: $sdk:ident => $sdk_client:ident,
            client: $client:ident,
            error: $error:ident,
            options: $options:ident,
            record: $record:literal,
        }
    ) => {
        #[doc = concat!("Builds an [`", stringify!($client), "`]: connection, storage and settings.")]
        ///
        /// Settings made here override those from [`sdk_config`](Self::sdk_config) and
        #[doc = concat!("[`", stringify!($sdk_client), "`](Self::", stringify!($sdk_client), ").")]
        ///
        /// ```
        #[doc = $crate::aws_example!(@builder $krate)]
        #[doc = concat!("use ", $krate, "::{", stringify!($client), ", ", stringify!($options), "};")]
        ///
        /// # let directory = tempfile::tempdir()?;
        /// # let directory = directory.path();
        #[doc = concat!("let client = ", stringify!($client), "::builder()")]
        ///     .region("us-east-1")
        ///     .credentials_provider(credentials)
        ///     .storage_path(directory) // say /var/lib/shop/records
        #[doc = concat!("    .options(", stringify!($options), "::default().max_retries(20))")]
        ///     .build()
        ///     .await?;
        /// # client.close().await?;
        #[doc = $crate::aws_example!(@end)]
        /// ```
        #[derive(Debug, Clone, Default)]
        #[must_use]
        pub struct $builder($crate::aws::ClientBuilder<$service>);

        impl $builder {
            /// Supplies an SDK client. The client uses a copy with its own user agent and timeout;
            /// the original is not changed. Overrides [`sdk_config`](Self::sdk_config).
            ///
            /// An SDK client does not tell its endpoint. If it has a custom one, also set
            /// [`endpoint_url`](Self::endpoint_url) or [`name`](Self::name): otherwise the default
            /// directory is that of AWS's endpoint, and records left by a test are sent to AWS
            /// later.
            ///
            /// ```no_run
            #[doc = $crate::aws_example!(@builder $krate)]
            /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
            /// // The program uses the SDK's client for other operations too.
            #[doc = concat!("let sdk = ", stringify!($sdk), "::Client::new(&config);")]
            #[doc = concat!(
                "let client = ", stringify!($client), "::builder().",
                stringify!($sdk_client), "(sdk.clone()).build().await?;"
            )]
            #[doc = $crate::aws_example!(@end)]
            /// ```
            pub fn $sdk_client(self, client: $sdk::Client) -> Self {
                Self(self.0.client(client))
            }
        }

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
            #[doc = concat!($record, ".await?;")]
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
