//! A handle for one stream.

use flush_engine::RecordData;
use flush_engine::aws::{IntoPayload, Stream};

use crate::AmplifyKinesisError;
use crate::record::IntoStreamRecord;
use crate::record::sealed::IntoUnchecked;
use crate::service::Kinesis;

/// One stream of a client, with its name checked once; created by
/// [`AmplifyKinesisClient::stream`](crate::AmplifyKinesisClient::stream).
#[derive(Debug, Clone)]
pub struct KinesisStream(pub(crate) Stream<Kinesis>);

impl KinesisStream {
    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Records data for the stream; see
    /// [`AmplifyKinesisClient::record`](crate::AmplifyKinesisClient::record).
    ///
    /// # Errors
    /// As `AmplifyKinesisClient::record`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the whole record is stored or nothing is.
    pub async fn record(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        self.record_all([(data, partition_key)]).await
    }

    /// As [`record`](Self::record), for a thread that belongs to no tokio runtime; see
    /// [`AmplifyKinesisClient::record_blocking`](crate::AmplifyKinesisClient::record_blocking).
    ///
    /// # Errors
    /// As `AmplifyKinesisClient::record_blocking`.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let checked = self.0.check([(data, partition_key).into_unchecked()])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records pairs of data and partition key, or [`KinesisRecord`](crate::KinesisRecord)s of
    /// this stream: all of them or, on an error, none.
    ///
    /// ```
    /// use amplify_kinesis::{AmplifyKinesisError, KinesisRecord, KinesisStream};
    ///
    /// # async fn example(stream: KinesisStream) -> Result<(), AmplifyKinesisError> {
    /// stream.record_all([("one", "partition-1"), ("two", "partition-2")]).await?;
    /// let record = KinesisRecord::new("three", "partition-1", stream.name());
    /// stream.record_all([record.explicit_hash_key(0)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`record`](Self::record), and [`Validation`](AmplifyKinesisError::Validation) when a
    /// record is for another stream.
    ///
    /// # Cancel safety
    /// If the future is dropped, all of the records are stored or none is.
    pub async fn record_all<R: IntoStreamRecord>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let records = records.into_iter().map(IntoUnchecked::into_unchecked);
        let checked = self.0.check(records)?;
        Ok(self.0.record(checked).await?)
    }
}
