//! A test of what happens to a record that is discarded.

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, DiscardReason, FlushStrategy,
};
use amplify_test_endpoint::{FakeAws, Reply};
use aws_credential_types::Credentials;
use std::sync::mpsc;

#[tokio::test]
async fn a_rejected_order_is_handed_back() -> Result<(), Box<dyn std::error::Error>> {
    let aws = FakeAws::start();
    let (sender, discarded) = mpsc::channel();
    let options = AmplifyKinesisClientOptions::default()
        .max_retries(0)
        .flush_strategy(FlushStrategy::None)
        .on_discard(move |record| {
            let _ = sender.send(record);
        });
    let kinesis = AmplifyKinesisClient::builder()
        .region("us-east-1")
        .credentials_provider(Credentials::new("any", "words", None, None, "test"))
        .endpoint_url(aws.endpoint_url())
        .in_memory()
        .options(options)
        .build()
        .await?;

    aws.script(Reply::fail_at([0], "InternalFailure"));
    kinesis.record("an order", "customer-3", "orders").await?;
    assert_eq!(kinesis.flush().await?.records_discarded, 1);

    let lost = discarded.try_recv()?;
    assert_eq!(lost.data, "an order");
    assert_eq!(lost.reason, DiscardReason::RetriesExhausted);
    assert_eq!(lost.code.as_deref(), Some("InternalFailure"));
    assert_eq!(aws.delivered_count_of("orders"), 0);
    kinesis.close().await?;
    Ok(())
}
