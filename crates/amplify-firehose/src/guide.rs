//! A walk through the client.
//!
//! The examples run against an endpoint on this machine, which is why they name one; leave
//! `endpoint_url` out to talk to the service.
//!
//! # Creating a client
//!
//! A client needs a region and a credentials provider. What `aws_config::load_defaults` finds
//! brings both:
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
//! or in one call, with the records in the default directory:
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
//! The default directory belongs to the name of the program, the region and the endpoint, but not
//! to an account. A program that delivers to two accounts, or makes two clients for one region,
//! gives each of them a [`name`](crate::AmplifyFirehoseClientBuilder::name) or a directory.
//!
//! # Configuration options
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let endpoint_url = endpoint.endpoint_url();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! # let directory = tempfile::tempdir()?;
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyFirehoseClientOptions::default()
//!     .cache_max_bytes(10 * 1024 * 1024)
//!     .max_retries(3)
//!     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)))
//!     .on_discard(|record| eprintln!("given up: {record:?}"));
//! let firehose = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint_url)
//!     .storage_path(directory.path())
//!     .options(options)
//!     .build()
//!     .await?;
//! # firehose.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `FlushStrategy::None` leaves delivery to [`flush`](crate::AmplifyFirehoseClient::flush) and
//! [`drain`](crate::AmplifyFirehoseClient::drain) alone. A program that records all the time
//! is served best by [`FlushStrategy::Adaptive`](crate::FlushStrategy::Adaptive): it delivers
//! as soon as a full batch of a stream waits, or its oldest record has waited for long.
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
//! # let endpoint_url = endpoint.endpoint_url();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, FlushStrategy};
//!
//! let firehose = AmplifyFirehoseClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint_url)
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
//!     Err(error) => println!("Flush failed: {error}"),
//! }
//! # assert_eq!(endpoint.delivered_count_of("my-delivery-stream"), 1);
//!
//! // While disabled, records are dropped, and the timer is paused; cached ones stay.
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
//! Each flush sends at most one batch for each delivery stream; the rest goes with the next one.
//! [`drain`](crate::AmplifyFirehoseClient::drain) goes on until everything is delivered, or
//! until its deadline.
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
//!     Err(AmplifyFirehoseError::Storage { .. }) => println!("the disk refused"),
//!     Err(AmplifyFirehoseError::ClientClosed) => println!("the client was closed"),
//!     Err(error @ AmplifyFirehoseError::Unknown { .. }) => println!("no answer: {:?}", error.reason()),
//! }
//! # }
//! ```
//!
//! | kind | what happened | what to do |
//! |---|---|---|
//! | `Validation` | a record or a setting breaks a [limit](crate::limits) | correct it |
//! | `LimitExceeded` | the cache is full | flush, clear, or raise `cache_max_bytes` |
//! | `Storage` | the disk refused | make room, check permissions, try again |
//! | `ClientClosed` | the client was closed | make a new one |
//! | `Unknown` | no answer that can be read, for this [`reason`](crate::NoAnswer) | nothing is lost; a later flush sends it |
//!
//! # What a request costs a record
//!
//! | what the service did | the record | its retry count |
//! |---|---|---|
//! | accepted it | is deleted | |
//! | sent it back with an error code | is kept | + 1 |
//! | refused the request for what it asks (no such stream, invalid argument) | is kept | + 1 |
//! | refused the request otherwise (throttling, failure, credentials) | is kept | as it was |
//! | gave no answer that can be read | is kept | as it was |
//!
//! A request that is refused for what is in it is sent again in halves, until the records at
//! fault are found: only they pay. A record whose count has reached `max_retries` when it
//! fails again is given up: handed to
//! [`on_discard`](crate::AmplifyFirehoseClientOptions::on_discard), then deleted.
//!
//! # Several events in one record
//!
//! Firehose bills each record as 5 KB at least, so small events cost less where several of them
//! share a record:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let endpoint_url = endpoint.endpoint_url();
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
//!     .endpoint_url(endpoint_url)
//!     .in_memory()
//!     .options(options)
//!     .build()
//!     .await?;
//! for n in 0..100 {
//!     firehose.record(format!("{{\"n\":{n}}}"), "my-delivery-stream").await?;
//! }
//! assert_eq!(firehose.flush().await?.records_flushed, 100);
//! # assert_eq!(endpoint.delivered_count(), 1);
//! # firehose.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each event has a newline behind it, or another delimiter, once. Order, retries, `on_discard`
//! and all counts stay by event. `Compression::Gzip`, of the feature `gzip`, makes each record a
//! gzip member, and members one behind the other are gzip. With
//! [`record_delimiter`](crate::AmplifyFirehoseClientOptions::record_delimiter) alone, each event
//! stays a record and only gets its delimiter. The
//! repository's `docs/aggregation.md` says what it costs, how such records are read, and when to
//! leave it.
//!
//! # A full cache, old records, the end
//!
//! Streams share the cache. Where one may be refused for long, as one that was never created, give
//! streams a [`max_stream_share`](crate::AmplifyFirehoseClientOptions::max_stream_share), so that it
//! leaves room for the others. A record for which there is none can also wait:
//! [`OverflowPolicy::Wait`](crate::OverflowPolicy).
//!
//! A record for which the cache has no room is refused. With
//! [`OverflowPolicy::DropOldest`](crate::OverflowPolicy) the oldest records make room instead,
//! whatever stream they belong to: as few as it takes, and none of a request under way.
//! [`max_record_age`](crate::AmplifyFirehoseClientOptions::max_record_age) gives up records
//! that nobody wants any more. What is given up goes to `on_discard`, with its
//! [reason](crate::DiscardReason). Before the program ends,
//! [`close_with`](crate::AmplifyFirehoseClient::close_with) takes a last chance to deliver:
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
//!     .on_discard(|record| eprintln!("given up: {:?}", record.reason));
//! // … a client with these options records, and when the program ends:
//! let last_chance = CloseOptions::default().drain(Duration::from_secs(5));
//! let delivered = firehose.close_with(last_chance).await?;
//! println!("{} records went out at the last minute", delivered.records_flushed);
//! # Ok(())
//! # }
//! ```
//!
//! # What Firehose calls a record
//!
//! [`on_delivered`](crate::AmplifyFirehoseClientOptions::on_delivered) is told of every record that the
//! service accepted, with the id that it gave it, before the record is deleted: so at least once,
//! and again if the process ends in between.
//!
//! ```
//! use amplify_firehose::AmplifyFirehoseClientOptions;
//!
//! let options = AmplifyFirehoseClientOptions::default()
//!     .on_delivered(|record| println!("{}: {}", record.stream_name, record.record_id));
//! ```
//!
//! A delivery stream goes by its name. `PutRecordBatch` takes no ARN, so an ARN is refused: a
//! stream of another account is reached with credentials of that account.
//!
//! # Programs without async
//!
//! A client needs a tokio runtime that runs by itself, one of several threads: it delivers there.
//! What makes the client keeps the runtime, whose `block_on` makes any call; threads that only
//! record need neither.
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
//! .expect("it does not panic")?;
//! assert_eq!(client.cache_stats().records, 1);
//! # runtime.block_on(client.clear_cache())?;
//! runtime.block_on(client.drain(Duration::from_secs(5)))?;
//! runtime.block_on(client.close())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Everything else that the service can do
//!
//! ```
//! # async fn example(firehose: &amplify_firehose::AmplifyFirehoseClient) {
//! let sdk_client: &amplify_firehose::aws_sdk_firehose::Client = firehose.firehose_client();
//! # let _ = sdk_client.list_delivery_streams();
//! # }
//! ```
