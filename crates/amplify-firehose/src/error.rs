//! The client's error type.

flush_engine::aws_error! {
    crate: "amplify_firehose",
    /// A client error, of one of five kinds that callers handle differently.
    ///
    /// ```
    /// use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseError};
    ///
    /// # async fn example(client: &AmplifyFirehoseClient) -> Result<(), AmplifyFirehoseError> {
    /// match client.record("an order", "orders").await {
    ///     // Too much to be cached at the moment: make room, and try once more.
    ///     Err(AmplifyFirehoseError::LimitExceeded { .. }) => {
    ///         client.flush().await?;
    ///         client.record("an order", "orders").await?;
    ///     }
    ///     Err(error) => println!("not recorded: {error}; {}", error.recovery_suggestion()),
    ///     Ok(_) => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub enum AmplifyFirehoseError
}
