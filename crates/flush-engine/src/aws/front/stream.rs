//! The handle for one stream of a client.

/// Defines the type of a stream's handle: a newtype around [`Stream`](crate::aws::Stream).
///
/// `crate` and `service` are those of [`aws_client!`](crate::aws_client). All but `service` appear
/// only in the documentation: `client` and `error` are the client's types, `noun` is what the
/// service calls a stream, and `record` is a call that records the order with a `number` through
/// the handle `orders`. The documentation links to the client's method `stream`.
///
/// ```text
/// aws_stream! {
///     pub struct KinesisStream {
///         crate: "amplify_kinesis",
///         service: Kinesis,
///         client: AmplifyKinesisClient,
///         error: AmplifyKinesisError,
///         noun: "stream",
///         record: r#"orders.record(format!("order {number}"), "customer-7")"#,
///     }
/// }
/// ```
#[macro_export]
macro_rules! aws_stream {
    (
        pub struct $stream:ident {
            crate: $krate:literal,
            service: $service:ident,
            client: $client:ident,
            error: $error:ident,
            noun: $noun:literal,
            record: $record:literal,
        }
    ) => {
        #[doc = concat!("A handle for one ", $noun, " of a client, with its name validated; created by")]
        #[doc = concat!("[`", stringify!($client), "::stream`](crate::", stringify!($client), "::stream).")]
        ///
        /// ```
        #[doc = $crate::aws_example!(@client $krate, $client)]
        /// // A task that records for one stream only.
        /// let orders = client.stream("orders")?;
        /// let task = tokio::spawn(async move {
        ///     for number in 1..=3 {
        #[doc = concat!("        ", $record, ".await?;")]
        ///     }
        #[doc = concat!("    Ok::<_, ", stringify!($error), ">(())")]
        /// });
        /// task.await??;
        /// assert_eq!(client.cache_stats().records, 3);
        #[doc = $crate::aws_example!(@end)]
        /// ```
        #[derive(Debug, Clone)]
        pub struct $stream(pub(crate) $crate::aws::Stream<$service>);
    };
}
