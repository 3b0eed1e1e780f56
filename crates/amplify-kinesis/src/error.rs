//! The client's error type.

flush_engine::aws_error! {
    crate: "amplify_kinesis",
    /// A client error, of one of five kinds that callers handle differently.
    ///
    /// ```
    /// use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisError};
    ///
    /// # async fn example(client: &AmplifyKinesisClient) -> Result<(), AmplifyKinesisError> {
    /// match client.record("an order", "customer-7", "orders").await {
    ///     // Too much to be cached at the moment: make room, and try once more.
    ///     Err(AmplifyKinesisError::LimitExceeded { .. }) => {
    ///         client.flush().await?;
    ///         client.record("an order", "customer-7", "orders").await?;
    ///     }
    ///     Err(error) => println!("not recorded: {error}; {}", error.recovery_suggestion()),
    ///     Ok(_) => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub enum AmplifyKinesisError
}
