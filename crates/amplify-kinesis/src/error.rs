//! The client's error type.

flush_engine::aws_error! {
    /// A client error, of one of five kinds that callers handle differently.
    pub enum AmplifyKinesisError
}
