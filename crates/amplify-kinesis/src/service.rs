//! Kinesis as the engine sees it.

use std::num::{NonZeroU64, NonZeroUsize};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Config;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use flush_engine::aws::wire::{self, Handover, Operation, Receipts, Target, Wire};
use flush_engine::aws::{ClientOptions, Service, ServiceLimits, send_error, verdict};
use flush_engine::{BatchLimits, SendError, Verdict};
use record_cache::{Record, StreamName};

use crate::AmplifyKinesisClientOptions;
use crate::limits::{
    MAX_PARTITION_KEY_CHARS, MAX_RECORD_BYTES, MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES,
    MAX_STREAM_NAME_CHARS,
};

/// Amazon Kinesis Data Streams.
#[derive(Debug, Clone)]
pub(crate) struct Kinesis;

impl Service for Kinesis {
    const NAME: &'static str = "kinesis";
    const SDK_ID: &'static str = "Kinesis";
    const CLIENT: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const OPERATION: &'static str = "PutRecords";
    const STREAM: &'static str = "stream";
    const ARN_SERVICE: Option<&'static str> = Some("kinesis");
    const LIMITS: ServiceLimits = ServiceLimits {
        request: BatchLimits::new(
            NonZeroUsize::new(MAX_RECORDS_PER_REQUEST).expect("not zero"),
            NonZeroU64::new(MAX_REQUEST_BYTES).expect("not zero"),
        ),
        record_bytes: MAX_RECORD_BYTES,
        partition_key_chars: Some(MAX_PARTITION_KEY_CHARS),
        stream_name_chars: MAX_STREAM_NAME_CHARS,
    };

    type Options = AmplifyKinesisClientOptions;

    flush_engine::aws_sdk_client!(aws_sdk_kinesis);

    fn client_options(options: &AmplifyKinesisClientOptions) -> ClientOptions {
        options.clone().into()
    }

    type Requests = Requests;

    fn requests(client: &Client, options: &AmplifyKinesisClientOptions) -> Requests {
        let speaks_its_own = client.config().protocol().is_some();
        Requests {
            client: client.clone(),
            receipts: Self::client_options(options).receipts(),
            wire: (!speaks_its_own).then(|| Wire::new(Operation::PutRecords, options.wire_format)),
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
    let target = Target::of(stream);
    let call = |handover: Handover| {
        let mut config = Config::builder();
        config.set_protocol(Some(wire.protocol()));
        let call = requests
            .client
            .put_records()
            .set_stream_name(target.name().map(str::to_owned))
            .set_stream_arn(target.arn().map(str::to_owned))
            .customize();
        call.config_override(config).interceptor(handover).send()
    };
    let entries = batch.iter().map(|record| wire::Entry {
        explicit_hash_key: record.explicit_hash_key,
        ..wire::Entry::new(&record.data, record.key.as_deref().or(Some("")))
    });
    let outcomes = wire.send(target, entries, requests.receipts, call).await?;
    Ok(outcomes.into_iter().map(Verdict::from).collect())
}

async fn put_entries(
    client: &Client,
    stream: &StreamName,
    batch: &[Record],
) -> Result<Vec<Verdict>, SendError> {
    let entries = batch.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let target = Target::of(stream);
    let request = client
        .put_records()
        .set_stream_name(target.name().map(str::to_owned))
        .set_stream_arn(target.arn().map(str::to_owned));
    let answer = request.set_records(Some(entries)).send().await;
    let entries = answer.map_err(|error| send_error(&error))?.records;
    entries
        .into_iter()
        .map(|entry| verdict(entry.error_code, entry.sequence_number, entry.shard_id))
        .collect()
}

fn entry(record: &Record) -> Result<PutRecordsRequestEntry, SendError> {
    PutRecordsRequestEntry::builder()
        .data(Blob::from_maybe_shared(record.data.clone()))
        .partition_key(record.key.as_deref().unwrap_or_default())
        .set_explicit_hash_key(
            record
                .explicit_hash_key
                .map(|hash_key| hash_key.to_string()),
        )
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}
