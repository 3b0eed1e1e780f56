//! A program that runs for a second: record, drain, exit.
//!
//! ```console
//! $ lambda_or_cli build --release
//! ```
//!
//! Such a program must not make its user wait for a network. It records to disk, which takes a
//! millisecond, tries to deliver for a moment, and exits; the next run delivers the rest.
//! Concurrent instances do not disturb each other: each takes its own directory below the default
//! one, and the next instance adopts what one leaves behind.

use std::env;
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, CloseOptions,
    FlushStrategy,
};

#[tokio::main]
async fn main() -> Result<(), AmplifyKinesisError> {
    let telemetry = telemetry().await?;

    let command = env::args().skip(1).collect::<Vec<_>>().join(" ");
    println!("(here the program does its work)");
    telemetry
        .record(format!("ran: {command}"), "cli", "usage")
        .await?;

    // In a Lambda function, create the client once, outside the handler, and end each invocation
    // with `drain`: the environment may be frozen as soon as the handler returns.
    let last_chance = CloseOptions::default().drain(Duration::from_millis(500));
    match telemetry.close_with(last_chance).await {
        Ok(done) => {
            println!("{} delivered", done.records_flushed);
            for skipped in done.skipped_streams {
                println!("{}: {}", skipped.stream_name, skipped.message);
            }
        }
        // Usually offline, which is no reason for the program to fail.
        Err(error) => println!("{error}"),
    }
    println!("{} left for next time", telemetry.cache_stats().records);
    Ok(())
}

async fn telemetry() -> Result<AmplifyKinesisClient, AmplifyKinesisError> {
    let options = AmplifyKinesisClientOptions::default()
        // Nothing happens between two runs, so no timer.
        .flush_strategy(FlushStrategy::None)
        // No request may outlast a user's patience.
        .request_timeout(Duration::from_secs(2))
        // Old events are worthless.
        .max_record_age(Duration::from_secs(30 * 24 * 60 * 60));
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let mut builder = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .name("lambda-or-cli")
        .options(options);
    // The only place a Lambda function may write to; it lasts as long as the environment.
    if env::var_os("AWS_LAMBDA_FUNCTION_NAME").is_some() {
        builder = builder.storage_path("/tmp/telemetry");
    }
    builder.build().await
}
