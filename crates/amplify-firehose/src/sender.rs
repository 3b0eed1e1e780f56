//! `PutRecordBatch` in the engine's words.

use std::num::{NonZeroU64, NonZeroUsize};

use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{PutRecordBatchResponseEntry, Record as Entry};
use flush_engine::{BatchLimits, RecordSender, SendError, Verdict, aws};
use record_cache::{Record, StreamName};

use crate::limits::{MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES};

/// Sends batches by `PutRecordBatch`.
#[derive(Debug)]
pub(crate) struct PutRecordBatchSender {
    client: Client,
}

impl PutRecordBatchSender {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl RecordSender for PutRecordBatchSender {
    fn limits(&self) -> BatchLimits {
        const RECORDS: NonZeroUsize = NonZeroUsize::new(MAX_RECORDS_PER_REQUEST).expect("not zero");
        const BYTES: NonZeroU64 = NonZeroU64::new(MAX_REQUEST_BYTES).expect("not zero");
        BatchLimits::new(RECORDS, BYTES)
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let entries = batch.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let request = self
            .client
            .put_record_batch()
            .delivery_stream_name(stream.as_str());
        let answer = request.set_records(Some(entries)).send().await;
        let answer = answer.map_err(|error| aws::send_error(&error))?;
        answer.request_responses.into_iter().map(verdict).collect()
    }
}

fn entry(record: &Record) -> Result<Entry, SendError> {
    Entry::builder()
        .data(Blob::from_maybe_shared(record.data.clone()))
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}

/// The entries decide, not `FailedPutCount`: some endpoints count wrongly.
fn verdict(entry: PutRecordBatchResponseEntry) -> Result<Verdict, SendError> {
    match (entry.error_code, entry.record_id) {
        (Some(code), _) => Ok(Verdict::Failed { code }),
        (None, Some(_)) => Ok(Verdict::Accepted),
        (None, None) => Err(SendError::no_answer(
            "the service gave neither a record id nor an error code for a record",
        )),
    }
}
