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
//! # async fn example() -> Result<(), amplify_kinesis::AmplifyKinesisError> {
//! use amplify_kinesis::AmplifyKinesisClient;
//!
//! let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//! let kinesis = AmplifyKinesisClient::builder().sdk_config(&config).build().await?;
//! # Ok(())
//! # }
//! ```
//!
//! or in one call, with the records in the default directory:
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
//! The default directory belongs to the name of the program, the region and the endpoint, but not
//! to an account. A program that delivers to two accounts, or makes two clients for one region,
//! gives each of them a [`name`](crate::AmplifyKinesisClientBuilder::name) or a directory.
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
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy};
//! use std::time::Duration;
//!
//! let options = AmplifyKinesisClientOptions::default()
//!     .cache_max_bytes(10 * 1024 * 1024)
//!     .max_retries(3)
//!     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)))
//!     .on_discard(|record| eprintln!("given up: {record:?}"));
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint_url)
//!     .storage_path(directory.path())
//!     .options(options)
//!     .build()
//!     .await?;
//! # kinesis.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `FlushStrategy::None` leaves delivery to [`flush`](crate::AmplifyKinesisClient::flush) and
//! [`drain`](crate::AmplifyKinesisClient::drain) alone. A program that records all the time
//! is served best by [`FlushStrategy::Adaptive`](crate::FlushStrategy::Adaptive): it delivers
//! as soon as a full batch of a stream waits, or its oldest record has waited for long.
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
//! # let endpoint_url = endpoint.endpoint_url();
//! # let credentials = Credentials::new("access key", "secret key", None, None, "example");
//! use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy};
//!
//! let kinesis = AmplifyKinesisClient::builder()
//!     .region("us-east-1")
//!     .credentials_provider(credentials)
//!     .endpoint_url(endpoint_url)
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
//!     Err(error) => println!("Flush failed: {error}"),
//! }
//! # assert_eq!(endpoint.delivered_count_of("my-stream"), 1);
//!
//! // While disabled, records are dropped, and the timer is paused; cached ones stay.
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
//! Each flush sends at most one batch for each stream; the rest goes with the next one.
//! [`drain`](crate::AmplifyKinesisClient::drain) goes on until everything is delivered, or
//! until its deadline.
//!
//! # Choosing the shard
//!
//! The partition key decides: records of one key go to one shard. For records that may go to any,
//! [`PartitionKey::random`](crate::PartitionKey::random) makes one up. An explicit hash key goes
//! before it, for a program that spreads records itself. Shards have ranges of hash keys, which
//! `ListShards` tells.
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
//!     Err(AmplifyKinesisError::Storage { .. }) => println!("the disk refused"),
//!     Err(AmplifyKinesisError::ClientClosed) => println!("the client was closed"),
//!     Err(error @ AmplifyKinesisError::Unknown { .. }) => println!("no answer: {:?}", error.reason()),
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
//! [`on_discard`](crate::AmplifyKinesisClientOptions::on_discard), then deleted.
//!
//! # Several events in one record
//!
//! Small events cost less where several of them share a record, and more of them fit through a
//! shard. [`Aggregation::Kpl`](crate::Aggregation) is the format of the Kinesis Producer Library,
//! which the KCL and libraries for Lambda read:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_credential_types::Credentials;
//! # let endpoint = amplify_test_support::FakeAws::start();
//! # let endpoint_url = endpoint.endpoint_url();
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
//!     .endpoint_url(endpoint_url)
//!     .in_memory()
//!     .options(options)
//!     .build()
//!     .await?;
//! for n in 0..100 {
//!     kinesis.record(format!("event {n}"), format!("device-{n}"), "my-stream").await?;
//! }
//! assert_eq!(kinesis.flush().await?.records_flushed, 100);
//! # assert_eq!(endpoint.delivered_count(), 1);
//! # kinesis.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Order within a partition key, retries, `on_discard` and all counts stay by event. Events share
//! a record if they belong to one shard, which takes permission for `ListShards`; without it, if
//! they have one partition key. When the stream is resharded, events that a reader would drop are
//! sent again. [`Aggregation::Concatenate`](crate::Aggregation) joins payloads of one partition
//! key by a newline, for readers that know no other format. The
//! repository's `docs/aggregation.md` says what it costs, how such records are read, and when to
//! leave it.
//!
//! # A full cache, old records, the end
//!
//! Streams share the cache. Where one may be refused for long, as one that was never created, give
//! streams a [`max_stream_share`](crate::AmplifyKinesisClientOptions::max_stream_share), so that it
//! leaves room for the others. A record for which there is none can also wait:
//! [`OverflowPolicy::Wait`](crate::OverflowPolicy).
//!
//! A record for which the cache has no room is refused. With
//! [`OverflowPolicy::DropOldest`](crate::OverflowPolicy) the oldest records make room instead,
//! whatever stream they belong to: as few as it takes, and none of a request under way.
//! [`max_record_age`](crate::AmplifyKinesisClientOptions::max_record_age) gives up records
//! that nobody wants any more. What is given up goes to `on_discard`, with its
//! [reason](crate::DiscardReason). Before the program ends,
//! [`close_with`](crate::AmplifyKinesisClient::close_with) takes a last chance to deliver:
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
//!     .on_discard(|record| eprintln!("given up: {:?}", record.reason));
//! // … a client with these options records, and when the program ends:
//! let last_chance = CloseOptions::default().drain(Duration::from_secs(5));
//! let delivered = kinesis.close_with(last_chance).await?;
//! println!("{} records went out at the last minute", delivered.records_flushed);
//! # Ok(())
//! # }
//! ```
//!
//! # Where records went
//!
//! [`on_delivered`](crate::AmplifyKinesisClientOptions::on_delivered) is told of every record that the
//! service accepted, with its shard and its sequence number, before the record is deleted: so at
//! least once, and again if the process ends in between.
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
//! Where a stream's name goes, its ARN goes too. It has to be of the client's region; the stream's
//! own policy has to let the caller in. A stream that is named both ways has two queues, and the
//! order between them is not kept.
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
//! A client needs a tokio runtime that runs by itself, one of several threads: it delivers there.
//! What makes the client keeps the runtime, whose `block_on` makes any call; threads that only
//! record need neither.
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
//! # async fn example(kinesis: &amplify_kinesis::AmplifyKinesisClient) {
//! let sdk_client: &amplify_kinesis::aws_sdk_kinesis::Client = kinesis.kinesis_client();
//! # let _ = sdk_client.list_streams();
//! # }
//! ```
