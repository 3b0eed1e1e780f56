//! The smallest useful program: records a line, delivers it, closes.
//!
//! Region, credentials and endpoint come from the environment, as for any AWS program.

use amplify_kinesis::AmplifyKinesisClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let kinesis = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .build()
        .await?;

    kinesis
        .record("Hello Kinesis", "partition-1", "my-stream")
        .await?;
    match kinesis.flush().await {
        Ok(flushed) => {
            println!("Flushed {} records", flushed.records_flushed);
            for skipped in flushed.skipped_streams {
                println!("Skipped {}: {}", skipped.stream_name, skipped.message);
            }
        }
        // Usually offline. Nothing is lost: a later flush, or the next run, delivers the rest.
        Err(error) => println!("Not delivered yet: {error}"),
    }
    println!("Left on disk: {}", kinesis.cache_stats().records);

    kinesis.close().await?;
    Ok(())
}
