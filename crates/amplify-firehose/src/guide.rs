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
//! # async fn example() -> Result<(), amplify_firehose::AmplifyFirehoseError> {
//! use amplify_firehose::AmplifyFirehoseClient;
//!
//! let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//! let firehose = AmplifyFirehoseClient::builder().sdk_config(&config).build().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or in one call, storing records in the default directory:
//!
//! ```no_run
//! # async fn example() -> Result<(), amplify_firehose::AmplifyFirehoseError> {
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
//! use aws_credential_types::Credentials;
//!
//! let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! let options = AmplifyFirehoseClientOptions::default();
//! let firehose = AmplifyFirehoseClient::create("us-east-1", credentials, options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The default directory depends on the name of the program, the region and the endpoint, but not
//! on the account. If a program delivers to two accounts, or has two clients for one region, give
//! each client its own [`name`](crate::AmplifyFirehoseClientBuilder::name) or directory.
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
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyFirehoseClientOptions::default()
//!     .cache_max_bytes(10 * 1024 * 1024)
//!     .max_retries(3)
//!     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)))
//!     .on_discard(|record| eprintln!("discarded: {record:?}"));
//! let firehose = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .storage_path(directory.path())
//!     .options(options)
//!     .build()
//!     .await?;
//! # firehose.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! With `FlushStrategy::None`, only [`flush`](crate::AmplifyFirehoseClient::flush) and
//! [`drain`](crate::AmplifyFirehoseClient::drain) deliver records. For a program that records
//! continuously, [`FlushStrategy::Adaptive`](crate::FlushStrategy::Adaptive) is best: it delivers
//! as soon as a stream has a full batch, or its oldest record has waited long enough.
//!
//! ```
//! use amplify_firehose::{AmplifyFirehoseClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyFirehoseClientOptions::default()
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
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, FlushStrategy};
//!
//! let firehose = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .in_memory()
//!     .options(AmplifyFirehoseClientOptions::default().flush_strategy(FlushStrategy::None))
//!     .build()
//!     .await?;
//!
//! match firehose.record("Hello Firehose", "my-delivery-stream").await {
//!     Ok(_) => println!("Recorded"),
//!     Err(error) => println!("{error}; {}", error.recovery_suggestion()),
//! }
//! match firehose.flush().await {
//!     Ok(done) => println!("Flushed {} records", done.records_flushed),
//!     // Usually offline. The records stay cached for the next flush.
//!     Err(error) => println!("Not delivered yet: {error}"),
//! }
//! # assert_eq!(endpoint.delivered_count_of("my-delivery-stream"), 1);
//!
//! // While disabled, new records are dropped and the timer is paused; cached records stay.
//! firehose.disable();
//! firehose.record("dropped", "my-delivery-stream").await?;
//! firehose.enable();
//! firehose.record("kept", "my-delivery-stream").await?;
//!
//! let cleared = firehose.clear_cache().await?;
//! assert_eq!(cleared.records_cleared, 1);
//!
//! firehose.close().await?;
//! assert!(firehose.flush().await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! Each flush sends at most one batch per delivery stream; the next flush sends more.
//! [`drain`](crate::AmplifyFirehoseClient::drain) continues until everything is delivered or its
//! deadline passes.
//!
//! # Errors
//!
//! ```
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseError};
//!
//! # async fn example(firehose: &AmplifyFirehoseClient) {
//! match firehose.record("data", "not a stream").await {
//!     Ok(_) => {}
//!     Err(AmplifyFirehoseError::Validation { message, .. }) => println!("not valid: {message}"),
//!     Err(AmplifyFirehoseError::LimitExceeded { .. }) => println!("the cache is full"),
//!     Err(AmplifyFirehoseError::Storage { .. }) => println!("the disk failed"),
//!     Err(AmplifyFirehoseError::ClientClosed) => println!("the client is closed"),
//!     Err(error @ AmplifyFirehoseError::Unknown { .. }) => println!("no answer: {:?}", error.reason()),
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
//! [`on_discard`](crate::AmplifyFirehoseClientOptions::on_discard) and then deleted. Automatic
//! passes and `drain` charge a record at most once every 30 seconds; `flush()` charges it every
//! time. The count survives a restart, but not the time of the last charge: a program that lives for
//! seconds charges in each run, and should set a higher `max_retries`.
//!
//! # Several events in one record
//!
//! Firehose bills at least 5 KB per record, so packing several small events into one record costs
//! less:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_firehose::{
//!     Aggregation, AmplifyFirehoseClient, AmplifyFirehoseClientOptions, Concatenation,
//! };
//! # use amplify_firehose::FlushStrategy;
//!
//! let lines = Concatenation::default().max_bytes(500_000);
//! let options = AmplifyFirehoseClientOptions::default()
//!     .aggregation(Aggregation::Concatenate(lines));
//! # let options = options.flush_strategy(FlushStrategy::None);
//! let firehose = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint.endpoint_url())
//!     .in_memory()
//!     .options(options)
//!     .build()
//!     .await?;
//! for n in 0..100 {
//!     firehose.record(format!("{{\"n\":{n}}}"), "my-delivery-stream").await?;
//! }
//! assert_eq!(firehose.flush().await?.records_flushed, 100);
//! // All of them in one record.
//! assert_eq!(endpoint.delivered_count(), 1);
//! # firehose.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each event ends with a newline or another delimiter, which is added only where missing. Order,
//! retries, `on_discard` and all counts still apply to each event. `Compression::Gzip` (feature
//! `gzip`) makes each record a gzip member; concatenated members are valid gzip. With
//! [`record_delimiter`](crate::AmplifyFirehoseClientOptions::record_delimiter) alone, each event
//! stays a record and only gets its delimiter. `docs/aggregation.md` in the repository covers the
//! cost, how to read such records, and when not to aggregate.
//!
//! # Full caches, old records, closing
//!
//! All streams share the cache. If the service might refuse a stream for a long time, for example
//! because the stream was never created, set a
//! [`max_stream_share`](crate::AmplifyFirehoseClientOptions::max_stream_share) so that it leaves
//! room for the others. `record` can also wait for room:
//! [`OverflowPolicy::Wait`](crate::OverflowPolicy).
//!
//! A full cache refuses new records. With [`OverflowPolicy::DropOldest`](crate::OverflowPolicy), it
//! drops the oldest records of any stream instead: as few as necessary, and none in flight.
//! [`max_record_age`](crate::AmplifyFirehoseClientOptions::max_record_age) discards records that
//! are too old. Discarded records are passed to `on_discard` with their
//! [reason](crate::DiscardReason). Before the program ends,
//! [`close_with`](crate::AmplifyFirehoseClient::close_with) makes a last attempt to deliver:
//!
//! ```
//! # use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseError};
//! # async fn example(firehose: &AmplifyFirehoseClient) -> Result<(), AmplifyFirehoseError> {
//! use amplify_firehose::{AmplifyFirehoseClientOptions, CloseOptions, OverflowPolicy};
//! use std::time::Duration;
//!
//! let options = AmplifyFirehoseClientOptions::default()
//!     .overflow_policy(OverflowPolicy::DropOldest)
//!     .max_record_age(Duration::from_secs(7 * 24 * 60 * 60))
//!     .on_discard(|record| eprintln!("discarded: {:?}", record.reason));
//! // … a client with these options records, and before the program ends:
//! let last_chance = CloseOptions::default().drain(Duration::from_secs(5));
//! match firehose.close_with(last_chance).await {
//!     Ok(delivered) => println!("{} records were delivered at the last minute", delivered.records_flushed),
//!     // It is closed all the same, and what was not delivered stays cached for the next start.
//!     Err(error) => println!("Closed; not all was delivered: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Record ids
//!
//! [`on_delivered`](crate::AmplifyFirehoseClientOptions::on_delivered) is called with every record
//! that the service accepted, and the record's id, before the record is deleted. It is called at
//! least once per record, and again if the process ends before the deletion.
//!
//! ```
//! use amplify_firehose::AmplifyFirehoseClientOptions;
//!
//! let options = AmplifyFirehoseClientOptions::default()
//!     .on_delivered(|record| println!("{}: {}", record.stream_name, record.record_id));
//! ```
//!
//! Delivery streams are identified by name. `PutRecordBatch` takes no ARN, so ARNs are refused. To
//! reach a stream in another account, use that account's credentials.
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
//! use amplify_firehose::AmplifyFirehoseClient;
//! use std::time::Duration;
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! let client = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .in_memory();
//! let client = runtime.block_on(client.build())?;
//! std::thread::spawn({
//!     let client = client.clone();
//!     move || client.record_blocking("data", "my-delivery-stream")
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
//! [`storage`](crate::AmplifyFirehoseClient::storage) says which. Automatic strategies also flush
//! when the page goes into the background.
//!
//! ```ignore
//! use amplify_firehose::AmplifyFirehoseClient;
//! use amplify_firehose::browser::PageCredentials;
//!
//! // `credentials` is a function of the page that returns `{accessKeyId, secretAccessKey, …}`.
//! let firehose = AmplifyFirehoseClient::builder()
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
//! # async fn example(firehose: &amplify_firehose::AmplifyFirehoseClient) {
//! let sdk_client: &amplify_firehose::aws_sdk_firehose::Client = firehose.firehose_client();
//! # let _ = sdk_client.list_delivery_streams();
//! # }
//! ```
