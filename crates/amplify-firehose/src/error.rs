//! What can go wrong in a client.

flush_engine::aws_error! {
    /// What can go wrong in a client, in the five kinds that callers treat differently.
    pub enum AmplifyFirehoseError
}
