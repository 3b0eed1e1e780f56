//! A tour of the client.
//!
//! In the examples, `credentials` is a credentials provider, `directory` a directory, and
//! `endpoint` a local endpoint, the `FakeAws` of the crate `amplify-test-endpoint`. Omit
//! `endpoint_url` to use the service.
//!
//! # Creating a client
//!
//! A client needs a region and a credentials provider. `aws_config::load_defaults` provides both:
//!
//! ```no_run
//! # async fn example() -> Result<(), amplify_kinesis::AmplifyKinesisError> {
//! use amplify_kinesis::AmplifyKinesisClient;
//!
//! let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//! let kinesis = AmplifyKinesisClient::builder().sdk_config(&config).build().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or in one call, storing records in the default directory:
//!
//! ```no_run
//! # async fn example() -> Result<(), amplify_kinesis::AmplifyKinesisError> {
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions};
//! use aws_credential_types::Credentials;
//!
//! let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! let options = AmplifyKinesisClientOptions::default();
//! let kinesis = AmplifyKinesisClient::create("us-east-1", credentials, options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The default directory depends on the name of the program, the region and the endpoint, but not
//! on the account. If a program delivers to two accounts, or has two clients for one region, give
//! each client its own [`name`](crate::AmplifyKinesisClientBuilder::name) or directory.
//!
//! # Configuration options
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! # let directory = tempfile::tempdir()?;
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyKinesisClientOptions::default()
//!     .cache_max_bytes(10 * 1024 * 1024)
//!     .max_retries(3)
//!     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)))
//!     .on_discard(|record| eprintln!("discarded: {record:?}"));
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .storage_path(directory.path())
//!     .options(options)
//!     .build()
//!     .await?;
//! # kinesis.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! With `FlushStrategy::None`, only [`flush`](crate::AmplifyKinesisClient::flush) and
//! [`drain`](crate::AmplifyKinesisClient::drain) deliver records. For a program that records
//! continuously, [`FlushStrategy::Adaptive`](crate::FlushStrategy::Adaptive) is best: it delivers
//! as soon as a stream has a full batch, or its oldest record has waited long enough.
//!
//! ```
//! use amplify_kinesis::{AmplifyKinesisClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyKinesisClientOptions::default()
//!     .cache_max_bytes(256 * 1024 * 1024)
//!     .flush_strategy(FlushStrategy::Adaptive {
//!         max_delay: Duration::from_secs(1),
//!         max_records: 500,
//!         max_bytes: 4 * 1024 * 1024,
//!     });
//! ```
//!
//! # Recording, flushing, clearing
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy};
//!
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .in_memory()
//!     .options(AmplifyKinesisClientOptions::default().flush_strategy(FlushStrategy::None))
//!     .build()
//!     .await?;
//!
//! match kinesis.record("Hello Kinesis", "partition-1", "my-stream").await {
//!     Ok(_) => println!("Recorded"),
//!     Err(error) => println!("{error}; {}", error.recovery_suggestion()),
//! }
//! match kinesis.flush().await {
//!     Ok(done) => println!("Flushed {} records", done.records_flushed),
//!     // Usually offline. The records stay cached for the next flush.
//!     Err(error) => println!("Not delivered yet: {error}"),
//! }
//! # assert_eq!(endpoint.delivered_count_of("my-stream"), 1);
//!
//! // While disabled, new records are dropped and the timer is paused; cached records stay.
//! kinesis.disable();
//! kinesis.record("dropped", "partition-1", "my-stream").await?;
//! kinesis.enable();
//! kinesis.record("kept", "partition-1", "my-stream").await?;
//!
//! let cleared = kinesis.clear_cache().await?;
//! assert_eq!(cleared.records_cleared, 1);
//!
//! kinesis.close().await?;
//! assert!(kinesis.flush().await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! Each flush sends at most one batch per stream; the next flush sends more.
//! [`drain`](crate::AmplifyKinesisClient::drain) continues until everything is delivered or its
//! deadline passes.
//!
//! # Choosing the shard
//!
//! Records with the same partition key go to the same shard. If any shard will do, use
//! [`PartitionKey::random`](crate::PartitionKey::random). An explicit hash key overrides the
//! partition key, for programs that distribute records themselves. `ListShards` returns the hash
//! key range of each shard.
//!
//! ```
//! # use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisError};
//! # async fn example(kinesis: &AmplifyKinesisClient) -> Result<(), AmplifyKinesisError> {
//! use amplify_kinesis::KinesisRecord;
//!
//! let lower_half = KinesisRecord::new("data", "partition-1", "my-stream").explicit_hash_key(0);
//! let upper_half = KinesisRecord::new("data", "partition-1", "my-stream").explicit_hash_key(u128::MAX);
//! kinesis.record_all([lower_half, upper_half]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! ```
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisError};
//!
//! # async fn example(kinesis: &AmplifyKinesisClient) {
//! match kinesis.record("data", "", "my-stream").await {
//!     Ok(_) => {}
//!     Err(AmplifyKinesisError::Validation { message, .. }) => println!("not valid: {message}"),
//!     Err(AmplifyKinesisError::LimitExceeded { .. }) => println!("the cache is full"),
//!     Err(AmplifyKinesisError::Storage { .. }) => println!("the disk failed"),
//!     Err(AmplifyKinesisError::ClientClosed) => println!("the client is closed"),
//!     Err(error @ AmplifyKinesisError::Unknown { .. }) => println!("no answer: {:?}", error.reason()),
//! }
//! # }
//! ```
//!
//! | kind | what happened | what to do |
//! |---|---|---|
//! | `Validation` | a record or a setting breaks a [limit](crate::limits) | correct it |
//! | `LimitExceeded` | the cache is full | flush, clear, or raise `cache_max_bytes` |
//! | `Storage` | the disk failed | free disk space, check permissions, try again |
//! | `ClientClosed` | the client is closed | create a new one |
//! | `Unknown` | there was no readable response; see its [`reason`](crate::NoAnswer) | nothing is lost; a later flush tries again |
//!
//! # What counts as an attempt
//!
//! | what the service did | the record | its retry count |
//! |---|---|---|
//! | accepted it | is deleted | |
//! | rejected the record with an error code | is kept | + 1 |
//! | refused a request that cannot succeed (no such stream, invalid argument) | is kept | + 1 |
//! | refused the request for another reason (throttling, failure, credentials) | is kept | unchanged |
//! | sent no readable response | is kept | unchanged |
//!
//! If the service refuses a request because of its contents, the request is resent in halves until
//! the bad records are found; only those are charged. A record that fails again after its count has
//! reached `max_retries` is discarded: it is passed to
//! [`on_discard`](crate::AmplifyKinesisClientOptions::on_discard) and then deleted. Automatic
//! passes and `drain` charge a record at most once every 30 seconds; `flush()` charges it every
//! time. The count survives a restart, but not the time of the last charge: a program that lives for
//! seconds charges in each run, and should set a higher `max_retries`.
//!
//! # Several events in one record
//!
//! Packing several small events into one record costs less and fits more events through a shard.
//! [`Aggregation::Kpl`](crate::Aggregation) uses the format of the Kinesis Producer Library, which
//! the KCL and libraries for Lambda read:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_kinesis::{Aggregation, AmplifyKinesisClient, AmplifyKinesisClientOptions, KplLimits};
//! # use amplify_kinesis::FlushStrategy;
//!
//! let options = AmplifyKinesisClientOptions::default()
//!     .aggregation(Aggregation::Kpl(KplLimits::default()));
//! # let options = options.flush_strategy(FlushStrategy::None);
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .in_memory()
//!     .options(options)
//!     .build()
//!     .await?;
//! for n in 0..100 {
//!     kinesis.record(format!("event {n}"), format!("device-{n}"), "my-stream").await?;
//! }
//! assert_eq!(kinesis.flush().await?.records_flushed, 100);
//! // All of them in one record.
//! assert_eq!(endpoint.delivered_count(), 1);
//! # kinesis.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Order within a partition key, retries, `on_discard` and all counts still apply to each event.
//! Events share a record if they belong to the same shard, which needs permission for `ListShards`.
//! Without it, only events with the same partition key share a record. When the stream is
//! resharded, records that a reader would drop are sent again, split by the new shards.
//! [`Aggregation::Concatenate`](crate::Aggregation) joins payloads with the same partition key by
//! newlines, for readers that know no other format. `docs/aggregation.md` in the repository covers
//! the cost, how to read such records, and when not to aggregate.
//!
//! # Full caches, old records, closing
//!
//! All streams share the cache. If the service might refuse a stream for a long time, for example
//! because the stream was never created, set a
//! [`max_stream_share`](crate::AmplifyKinesisClientOptions::max_stream_share) so that it leaves
//! room for the others. `record` can also wait for room:
//! [`OverflowPolicy::Wait`](crate::OverflowPolicy).
//!
//! A full cache refuses new records. With [`OverflowPolicy::DropOldest`](crate::OverflowPolicy), it
//! drops the oldest records of any stream instead: as few as necessary, and none in flight.
//! [`max_record_age`](crate::AmplifyKinesisClientOptions::max_record_age) discards records that are
//! too old. Discarded records are passed to `on_discard` with their [reason](crate::DiscardReason).
//! Before the program ends, [`close_with`](crate::AmplifyKinesisClient::close_with) makes a last
//! attempt to deliver:
//!
//! ```
//! # use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisError};
//! # async fn example(kinesis: &AmplifyKinesisClient) -> Result<(), AmplifyKinesisError> {
//! use amplify_kinesis::{AmplifyKinesisClientOptions, CloseOptions, OverflowPolicy};
//! use std::time::Duration;
//!
//! let options = AmplifyKinesisClientOptions::default()
//!     .overflow_policy(OverflowPolicy::DropOldest)
//!     .max_record_age(Duration::from_secs(7 * 24 * 60 * 60))
//!     .on_discard(|record| eprintln!("discarded: {:?}", record.reason));
//! // … a client with these options records, and before the program ends:
//! let last_chance = CloseOptions::default().drain(Duration::from_secs(5));
//! match kinesis.close_with(last_chance).await {
//!     Ok(delivered) => println!("{} records were delivered at the last minute", delivered.records_flushed),
//!     // It is closed all the same, and what was not delivered stays cached for the next start.
//!     Err(error) => println!("Closed; not all was delivered: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where records went
//!
//! [`on_delivered`](crate::AmplifyKinesisClientOptions::on_delivered) is called with every record
//! that the service accepted, its shard and its sequence number, before the record is deleted. It
//! is called at least once per record, and again if the process ends before the deletion.
//!
//! ```
//! use amplify_kinesis::AmplifyKinesisClientOptions;
//!
//! let options = AmplifyKinesisClientOptions::default().on_delivered(|record| {
//!     println!("{}: {} {}", record.stream_name, record.shard_id, record.sequence_number);
//! });
//! ```
//!
//! # Streams of another account
//!
//! A stream's ARN works wherever its name does. The ARN must be in the client's region, and the
//! stream's resource policy must allow the caller. A stream used under both its name and its ARN
//! has two queues, with no ordering between them.
//!
//! ```
//! # async fn example(kinesis: &amplify_kinesis::AmplifyKinesisClient) -> Result<(), amplify_kinesis::AmplifyKinesisError> {
//! let orders = kinesis.stream("arn:aws:kinesis:us-east-1:123456789012:stream/orders")?;
//! orders.record("data", "partition-1").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Programs without async
//!
//! A client delivers in the background, so it needs a multi-threaded tokio runtime. The code that
//! builds the client keeps the runtime and makes its calls through `block_on`. Threads that only
//! record need no runtime.
//!
//! ```
//! # use aws_credential_types::Credentials;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_kinesis::AmplifyKinesisClient;
//! use std::time::Duration;
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! let client = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .in_memory();
//! let client = runtime.block_on(client.build())?;
//! std::thread::spawn({
//!     let client = client.clone();
//!     move || client.record_blocking("data", "partition-1", "my-stream")
//! })
//! .join()
//! .map_err(|_| "the thread panicked")??;
//! assert_eq!(client.cache_stats().records, 1);
//! # runtime.block_on(client.clear_cache())?;
//! if let Err(error) = runtime.block_on(client.drain(Duration::from_secs(5))) {
//!     println!("Not delivered yet: {error}");
//! }
//! runtime.block_on(client.close())?;
//! # Ok(())
//! # }
//! ```
//!
//! # In a web page
//!
//! With the `browser` feature instead of the default ones, the same client runs in a page or a
//! worker on `wasm32-unknown-unknown`. It sends requests with `fetch`. Records are stored in the
//! browser's database, IndexedDB, in a slot per tab, or in memory if the browser grants no storage:
//! [`storage`](crate::AmplifyKinesisClient::storage) says which. Automatic strategies also flush
//! when the page goes into the background.
//!
//! ```ignore
//! use amplify_kinesis::AmplifyKinesisClient;
//! use amplify_kinesis::browser::PageCredentials;
//!
//! // `credentials` is a function of the page that returns `{accessKeyId, secretAccessKey, …}`.
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(PageCredentials::new(credentials))
//!     .build()
//!     .await?;
//! ```
//!
//! Only pages served over HTTPS or from localhost have a database. See `docs/browser.md` in the
//! repository for more.
//!
//! # Everything else the service can do
//!
//! ```
//! # async fn example(kinesis: &amplify_kinesis::AmplifyKinesisClient) {
//! let sdk_client: &amplify_kinesis::aws_sdk_kinesis::Client = kinesis.kinesis_client();
//! # let _ = sdk_client.list_streams();
//! # }
//! ```
