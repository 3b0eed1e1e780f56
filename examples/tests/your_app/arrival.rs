//! A test that reads what arrived, after a fault.

use amplify_kinesis::AmplifyKinesisClient;
use amplify_test_endpoint::{FakeAws, Reply};
use aws_credential_types::Credentials;
use std::time::Duration;

#[tokio::test]
async fn an_order_arrives() -> Result<(), Box<dyn std::error::Error>> {
    let aws = FakeAws::start();
    let kinesis = AmplifyKinesisClient::builder()
        .region("us-east-1")
        .credentials_provider(Credentials::new("any", "words", None, None, "test"))
        .endpoint_url(aws.endpoint_url())
        .in_memory()
        .build()
        .await?;

    // The first request goes unanswered; the client sends the record again.
    aws.script(Reply::Close);
    kinesis.record("an order", "customer-3", "orders").await?;
    kinesis.drain(Duration::from_secs(10)).await?;

    aws.wait_until(|aws| aws.delivered_count_of("orders") == 1)
        .await?;
    assert_eq!(aws.delivered("orders")[0].data, "an order");
    assert_eq!(aws.limit_violations(), [""; 0]);
    kinesis.close().await?;
    Ok(())
}
