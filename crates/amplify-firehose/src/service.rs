//! Data Firehose as the engine sees it.

use std::num::{NonZeroU64, NonZeroUsize};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::Config;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record as Entry;
use flush_engine::aws::wire::{self, Handover, Operation, Receipts, Target, Wire, WireFormat};
use flush_engine::aws::{ClientOptions, Service, ServiceLimits, send_error, verdict};
use flush_engine::{BatchLimits, SendError, Verdict};
use record_cache::{Record, StreamName};

use crate::AmplifyFirehoseClientOptions;
use crate::limits::{
    MAX_RECORD_BYTES, MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES, MAX_STREAM_NAME_CHARS,
};

/// Amazon Data Firehose.
#[derive(Debug, Clone)]
pub(crate) struct Firehose;

impl Service for Firehose {
    const NAME: &'static str = "firehose";
    const SDK_ID: &'static str = "Firehose";
    const CLIENT: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const OPERATION: &'static str = "PutRecordBatch";
    const STREAM: &'static str = "delivery stream";
    const ARN_SERVICE: Option<&'static str> = None;
    const LIMITS: ServiceLimits = ServiceLimits {
        request: BatchLimits::new(
            NonZeroUsize::new(MAX_RECORDS_PER_REQUEST).expect("not zero"),
            NonZeroU64::new(MAX_REQUEST_BYTES).expect("not zero"),
        ),
        record_bytes: MAX_RECORD_BYTES,
        partition_key_chars: None,
        stream_name_chars: MAX_STREAM_NAME_CHARS,
    };

    type Options = AmplifyFirehoseClientOptions;

    flush_engine::aws_sdk_client!(aws_sdk_firehose);

    fn client_options(options: &AmplifyFirehoseClientOptions) -> ClientOptions {
        options.clone().into()
    }

    type Requests = Requests;

    fn requests(client: &Client, options: &AmplifyFirehoseClientOptions) -> Requests {
        let speaks_its_own = client.config().protocol().is_some();
        Requests {
            client: client.clone(),
            receipts: Self::client_options(options).receipts(),
            wire: (!speaks_its_own).then(|| Wire::new(Operation::PutRecordBatch, WireFormat::Json)),
        }
    }

    async fn put(
        requests: &Requests,
        stream: &StreamName,
        batch: &[Record],
    ) -> Result<Vec<Verdict>, SendError> {
        match &requests.wire {
            Some(wire) => put_written(requests, wire, stream, batch).await,
            None => put_entries(&requests.client, stream, batch).await,
        }
    }
}

/// What makes the requests.
#[derive(Debug)]
pub(crate) struct Requests {
    client: Client,
    receipts: Receipts,
    /// None where the SDK client was given a protocol of its own.
    wire: Option<Wire>,
}

async fn put_written(
    requests: &Requests,
    wire: &Wire,
    stream: &StreamName,
    batch: &[Record],
) -> Result<Vec<Verdict>, SendError> {
    let call = |handover: Handover| {
        let mut config = Config::builder();
        config.set_protocol(Some(wire.protocol()));
        let call = requests.client.put_record_batch();
        let call = call.delivery_stream_name(stream.as_str()).customize();
        call.config_override(config).interceptor(handover).send()
    };
    let entries = batch
        .iter()
        .map(|record| wire::Entry::new(&record.data, None));
    let target = Target::Name(stream.as_str());
    let outcomes = wire.send(target, entries, requests.receipts, call).await?;
    Ok(outcomes.into_iter().map(Verdict::from).collect())
}

async fn put_entries(
    client: &Client,
    stream: &StreamName,
    batch: &[Record],
) -> Result<Vec<Verdict>, SendError> {
    let entries = batch.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let request = client.put_record_batch();
    let request = request.delivery_stream_name(stream.as_str());
    let answer = request.set_records(Some(entries)).send().await;
    let entries = answer
        .map_err(|error| send_error(&error))?
        .request_responses;
    entries
        .into_iter()
        .map(|entry| verdict(entry.error_code, entry.record_id, None))
        .collect()
}

fn entry(record: &Record) -> Result<Entry, SendError> {
    Entry::builder()
        .data(Blob::from_maybe_shared(record.data.clone()))
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}
