//! The smallest useful program: records a line, delivers it, closes.
//!
//! Region, credentials and endpoint come from the environment, as for any AWS program.

use amplify_firehose::AmplifyFirehoseClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let firehose = AmplifyFirehoseClient::builder()
        .sdk_config(&config)
        .build()
        .await?;

    firehose
        .record("Hello Firehose", "my-delivery-stream")
        .await?;
    match firehose.flush().await {
        Ok(flushed) => {
            println!("Flushed {} records", flushed.records_flushed);
            for skipped in flushed.skipped_streams {
                println!("Skipped {}: {}", skipped.stream_name, skipped.message);
            }
        }
        // Usually offline. Nothing is lost: a later flush, or the next run, delivers the rest.
        Err(error) => println!("Not delivered yet: {error}"),
    }
    println!("Left on disk: {}", firehose.cache_stats().records);

    firehose.close().await?;
    Ok(())
}
