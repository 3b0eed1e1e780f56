//! A client on a custom store.
//!
//! ```console
//! $ custom_store waiting.json
//! ```
//!
//! [`json_file`] is the store. `tests/custom_store.rs` checks it against the contract of
//! `RecordStore`, with the suite that the stores of `record-cache` pass.

mod json_file;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions, CloseOptions};
use anyhow::{Context, Result};

use self::json_file::JsonFile;

#[tokio::main]
async fn main() -> Result<()> {
    let path = env::args_os().nth(1).context("usage: custom_store FILE")?;
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let kinesis = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .store(Arc::new(JsonFile::open(path.into())?))
        // Each call writes the whole file, so there should never be much in it.
        .options(AmplifyKinesisClientOptions::default().cache_max_bytes(256 * 1024))
        .build()
        .await?;

    kinesis.record("21.5", "sensor-7", "measurements").await?;
    println!("{:?}", kinesis.cache_stats());

    let last_chance = CloseOptions::default().drain(Duration::from_secs(5));
    match kinesis.close_with(last_chance).await {
        Ok(done) => println!(
            "{} delivered, skipped: {:?}",
            done.records_flushed, done.skipped_streams
        ),
        Err(error) => println!("{error}; the record waits in the file"),
    }
    Ok(())
}
