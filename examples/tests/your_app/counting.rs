//! A test that counts what was recorded.

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, FlushStrategy,
};
use aws_credential_types::Credentials;

// The app's own code; in a test of yours, `use my_app::sign_up;`.
async fn sign_up(kinesis: &AmplifyKinesisClient, user: &str) -> Result<(), AmplifyKinesisError> {
    let event = format!("{user} signed up");
    kinesis.record(event, user, "events").await?;
    Ok(())
}

#[tokio::test]
async fn a_sign_up_is_recorded() -> Result<(), AmplifyKinesisError> {
    let options = AmplifyKinesisClientOptions::default().flush_strategy(FlushStrategy::None);
    let kinesis = AmplifyKinesisClient::builder()
        .region("us-east-1")
        .credentials_provider(Credentials::new("any", "words", None, None, "test"))
        .in_memory()
        .options(options)
        .build()
        .await?;

    sign_up(&kinesis, "u-7").await?;
    assert_eq!(kinesis.cache_stats().streams[0].stream_name, "events");
    assert_eq!(kinesis.cache_stats().records, 1);
    kinesis.close().await
}
