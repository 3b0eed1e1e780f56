//! Implements the engine's `Service` trait for Firehose.

use std::num::{NonZeroU64, NonZeroUsize};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::Config;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record as Entry;
use flush_engine::aws::aggregation::Concatenation;
use flush_engine::aws::wire::{
    self, Handover, Operation, Outcome, Receipts, Target, Wire, WireFormat,
};
use flush_engine::aws::{ClientOptions, Grouping, Service, ServiceLimits, outcome, send_error};
use flush_engine::{BatchLimits, InvalidSetting, SendError};
use record_cache::StreamName;

use crate::limits::{
    MAX_EVENTS_PER_RECORD, MAX_RECORD_BYTES, MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES,
    MAX_STREAM_NAME_CHARS,
};
use crate::{Aggregation, AmplifyFirehoseClientOptions};

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

    fn requests(client: &Client, _options: &AmplifyFirehoseClientOptions) -> Requests {
        let speaks_its_own = client.config().protocol().is_some();
        Requests {
            client: client.clone(),
            wire: (!speaks_its_own).then(|| Wire::new(Operation::PutRecordBatch, WireFormat::Json)),
        }
    }

    async fn put(
        requests: &Requests,
        stream: &StreamName,
        entries: &[wire::Entry<'_>],
        receipts: Receipts,
    ) -> Result<Vec<Outcome>, SendError> {
        match &requests.wire {
            Some(wire) => put_written(&requests.client, wire, stream, entries, receipts).await,
            None => put_entries(&requests.client, stream, entries).await,
        }
    }

    fn grouping(
        options: &AmplifyFirehoseClientOptions,
    ) -> Result<Option<Grouping>, InvalidSetting> {
        if options.wire_format == WireFormat::Cbor {
            return Err(InvalidSetting::new(
                "wire_format",
                "Firehose reads JSON only",
                "leave wire_format at Auto, or set it to Json",
            ));
        }
        let delimiter = options.record_delimiter.clone();
        match options.aggregation.clone() {
            Aggregation::None if delimiter.is_empty() => Ok(None),
            Aggregation::None => Ok(Some(Grouping::delimit(delimiter.to_vec()))),
            Aggregation::Concatenate(_) if !delimiter.is_empty() => Err(InvalidSetting::new(
                "record_delimiter",
                "aggregation appends its own delimiter to each event",
                "leave record_delimiter empty, and set the delimiter of the aggregation",
            )),
            Aggregation::Concatenate(joined) => concatenate(joined).map(Some),
        }
    }
}

fn concatenate(joined: Concatenation) -> Result<Grouping, InvalidSetting> {
    if joined.max_events > MAX_EVENTS_PER_RECORD {
        return Err(InvalidSetting::new(
            "aggregation",
            format!("Firehose takes at most {MAX_EVENTS_PER_RECORD} events out of one record"),
            format!("set max_events to {MAX_EVENTS_PER_RECORD} or less"),
        ));
    }
    Grouping::concatenate(joined)
}

/// The SDK client and the wire format of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    client: Client,
    /// `None` if the SDK client has its own protocol.
    wire: Option<Wire>,
}

async fn put_written(
    client: &Client,
    wire: &Wire,
    stream: &StreamName,
    entries: &[wire::Entry<'_>],
    receipts: Receipts,
) -> Result<Vec<Outcome>, SendError> {
    let call = |handover: Handover| {
        let mut config = Config::builder();
        config.set_protocol(Some(wire.protocol()));
        let call = client.put_record_batch();
        let call = call.delivery_stream_name(stream.as_str()).customize();
        call.config_override(config).interceptor(handover).send()
    };
    let target = Target::Name(stream.as_str());
    wire.send(target, entries.iter().copied(), receipts, call)
        .await
}

async fn put_entries(
    client: &Client,
    stream: &StreamName,
    entries: &[wire::Entry<'_>],
) -> Result<Vec<Outcome>, SendError> {
    let entries = entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let request = client.put_record_batch();
    let request = request.delivery_stream_name(stream.as_str());
    let answer = request.set_records(Some(entries)).send().await;
    let entries = answer
        .map_err(|error| send_error(&error))?
        .request_responses;
    entries
        .into_iter()
        .map(|entry| outcome(entry.error_code, entry.record_id, None))
        .collect()
}

fn entry(entry: &wire::Entry<'_>) -> Result<Entry, SendError> {
    Entry::builder()
        .data(Blob::new(entry.data))
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}
