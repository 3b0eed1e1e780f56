//! A handle for one delivery stream.

use flush_engine::RecordData;
use flush_engine::aws::{IntoPayload, Stream, UncheckedRecord};

use crate::AmplifyFirehoseError;
use crate::service::Firehose;

/// A handle for one delivery stream of a client, with its name validated; created by
/// [`AmplifyFirehoseClient::stream`](crate::AmplifyFirehoseClient::stream).
#[derive(Debug, Clone)]
pub struct FirehoseStream(pub(crate) Stream<Firehose>);

impl FirehoseStream {
    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Records data for the stream; see
    /// [`AmplifyFirehoseClient::record`](crate::AmplifyFirehoseClient::record).
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
