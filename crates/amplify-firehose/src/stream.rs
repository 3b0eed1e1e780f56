//! A handle for one delivery stream.

use flush_engine::RecordData;
use flush_engine::aws::{IntoPayload, UncheckedRecord};

use crate::AmplifyFirehoseError;
use crate::service::Firehose;

flush_engine::aws_stream! {
    pub struct FirehoseStream {
        crate: "amplify_firehose",
        service: Firehose,
        client: AmplifyFirehoseClient,
        error: AmplifyFirehoseError,
        noun: "delivery stream",
        record: r#"orders.record(format!("order {number}"))"#,
    }
}

impl FirehoseStream {
    /// The stream's name.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let orders = client.stream("orders")?;
    /// orders.record("an order").await?;
    /// println!("recorded for {}", orders.name());
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Records data for the stream; see
    /// [`AmplifyFirehoseClient::record`](crate::AmplifyFirehoseClient::record).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let orders = client.stream("orders")?;
    /// let stored = orders.record("an order").await?;
    /// assert_eq!(stored.records_stored, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `AmplifyFirehoseClient::record`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is stored either in full or not at all.
    pub async fn record(&self, data: impl IntoPayload) -> Result<RecordData, AmplifyFirehoseError> {
        self.record_all([data]).await
    }

    /// Like [`record`](Self::record), for a thread outside any tokio runtime; see
    /// [`AmplifyFirehoseClient::record_blocking`](crate::AmplifyFirehoseClient::record_blocking).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let measurements = client.stream("measurements")?;
    /// let thread = std::thread::spawn(move || measurements.record_blocking("21.5"));
    /// thread.join().map_err(|_| "the thread panicked")??;
    /// # assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `AmplifyFirehoseClient::record_blocking`.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let checked = self.0.check([UncheckedRecord::for_handle(data, None)])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records several payloads. On an error, none is stored.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let views = client.stream("views")?;
    /// let stored = views.record_all(["view 1\n", "view 2\n"]).await?;
    /// assert_eq!(stored.records_stored, 2);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as [`record`](Self::record).
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are stored or none.
    pub async fn record_all<D: IntoPayload>(
        &self,
        records: impl IntoIterator<Item = D>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let records = records.into_iter();
        let records = records.map(|data| UncheckedRecord::for_handle(data, None));
        let checked = self.0.check(records)?;
        Ok(self.0.record(checked).await?)
    }
}
