//! `PutRecords` in the engine's words.

use std::num::{NonZeroU64, NonZeroUsize};

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use flush_engine::{BatchLimits, RecordSender, SendError, Verdict, aws};
use record_cache::{Record, StreamName};

use crate::limits::{MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES};

/// Sends batches by `PutRecords`.
#[derive(Debug)]
pub(crate) struct PutRecordsSender {
    client: Client,
}

impl PutRecordsSender {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl RecordSender for PutRecordsSender {
    fn limits(&self) -> BatchLimits {
        const RECORDS: NonZeroUsize = NonZeroUsize::new(MAX_RECORDS_PER_REQUEST).expect("not zero");
        const BYTES: NonZeroU64 = NonZeroU64::new(MAX_REQUEST_BYTES).expect("not zero");
        BatchLimits::new(RECORDS, BYTES)
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let entries = batch.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let request = self.client.put_records().stream_name(stream.as_str());
        let answer = request.set_records(Some(entries)).send().await;
        let answer = answer.map_err(|error| aws::send_error(&error))?;
        answer.records.into_iter().map(verdict).collect()
    }
}

fn entry(record: &Record) -> Result<PutRecordsRequestEntry, SendError> {
    PutRecordsRequestEntry::builder()
        .data(Blob::from_maybe_shared(record.data.clone()))
        .partition_key(record.key.as_deref().unwrap_or_default())
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}

/// The entries decide, not `FailedRecordCount`: some endpoints count wrongly.
fn verdict(entry: PutRecordsResultEntry) -> Result<Verdict, SendError> {
    match (entry.error_code, entry.sequence_number) {
        (Some(code), _) => Ok(Verdict::Failed { code }),
        (None, Some(_)) => Ok(Verdict::Accepted),
        (None, None) => Err(SendError::no_answer(
            "the service gave neither a sequence number nor an error code for a record",
        )),
    }
}
