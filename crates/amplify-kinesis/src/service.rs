//! Implements the engine's `Service` trait for Kinesis.

use std::num::{NonZeroU64, NonZeroUsize};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Config;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{self, PutRecordsRequestEntry, ShardFilter, ShardFilterType};
use flush_engine::aws::aggregation::Shard;
use flush_engine::aws::wire::{Entry, Handover, Operation, Outcome, Receipts, Target, Wire};
use flush_engine::aws::{ClientOptions, Grouping, Service, ServiceLimits, outcome, send_error};
use flush_engine::{BatchLimits, InvalidSetting, SendError};
use record_cache::StreamName;

use crate::limits::{
    MAX_PARTITION_KEY_CHARS, MAX_RECORD_BYTES, MAX_RECORDS_PER_REQUEST, MAX_REQUEST_BYTES,
    MAX_STREAM_NAME_CHARS,
};
use crate::{Aggregation, AmplifyKinesisClientOptions};

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
            wire: (!speaks_its_own).then(|| Wire::new(Operation::PutRecords, options.wire_format)),
        }
    }

    async fn put(
        requests: &Requests,
        stream: &StreamName,
        entries: &[Entry<'_>],
        receipts: Receipts,
    ) -> Result<Vec<Outcome>, SendError> {
        match &requests.wire {
            Some(wire) => put_written(&requests.client, wire, stream, entries, receipts).await,
            None => put_entries(&requests.client, stream, entries).await,
        }
    }

    fn grouping(options: &AmplifyKinesisClientOptions) -> Result<Option<Grouping>, InvalidSetting> {
        match options.aggregation.clone() {
            Aggregation::None => Ok(None),
            Aggregation::Kpl(limits) => Grouping::kpl(limits).map(Some),
            Aggregation::Concatenate(joined) => Grouping::concatenate(joined).map(Some),
        }
    }

    async fn open_shards(
        requests: &Requests,
        stream: &StreamName,
    ) -> Result<Vec<Shard>, SendError> {
        open_shards(&requests.client, stream).await
    }
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
    entries: &[Entry<'_>],
    receipts: Receipts,
) -> Result<Vec<Outcome>, SendError> {
    let target = Target::of(stream);
    let call = |handover: Handover| {
        let mut config = Config::builder();
        config.set_protocol(Some(wire.protocol()));
        let call = client
            .put_records()
            .set_stream_name(target.name().map(str::to_owned))
            .set_stream_arn(target.arn().map(str::to_owned))
            .customize();
        call.config_override(config).interceptor(handover).send()
    };
    wire.send(target, entries.iter().copied(), receipts, call)
        .await
}

async fn put_entries(
    client: &Client,
    stream: &StreamName,
    entries: &[Entry<'_>],
) -> Result<Vec<Outcome>, SendError> {
    let entries = entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let target = Target::of(stream);
    let request = client
        .put_records()
        .set_stream_name(target.name().map(str::to_owned))
        .set_stream_arn(target.arn().map(str::to_owned));
    let answer = request.set_records(Some(entries)).send().await;
    let entries = answer.map_err(|error| send_error(&error))?.records;
    entries
        .into_iter()
        .map(|entry| outcome(entry.error_code, entry.sequence_number, entry.shard_id))
        .collect()
}

fn entry(entry: &Entry<'_>) -> Result<PutRecordsRequestEntry, SendError> {
    PutRecordsRequestEntry::builder()
        .data(Blob::new(entry.data))
        .partition_key(entry.partition_key.unwrap_or_default())
        .set_explicit_hash_key(entry.explicit_hash_key.map(|key| key.to_string()))
        .build()
        .map_err(|error| SendError::no_answer(error.to_string()))
}

/// Maximum pages of a shard list; a stream has far fewer shards.
const MAX_PAGES: usize = 100;

async fn open_shards(client: &Client, stream: &StreamName) -> Result<Vec<Shard>, SendError> {
    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest);
    let filter = filter.build();
    let filter = filter.map_err(|error| SendError::no_answer(error.to_string()))?;
    let target = Target::of(stream);
    let arn = target.arn().map(str::to_owned);
    let mut request = client
        .list_shards()
        .set_stream_name(target.name().map(str::to_owned))
        .set_stream_arn(arn.clone())
        .shard_filter(filter);
    let mut open = Vec::new();
    for _ in 0..MAX_PAGES {
        let answer = request.send().await;
        let page = answer.map_err(|error| send_error(&error))?;
        let shards = page.shards.unwrap_or_default();
        open.extend(shards.iter().filter_map(open_shard));
        let Some(next) = page.next_token else {
            return Ok(open);
        };
        request = client
            .list_shards()
            .set_stream_arn(arn.clone())
            .next_token(next);
    }
    Err(SendError::unreadable(
        "the list of shards has too many pages",
    ))
}

/// Converts an open shard; `None` if it is closed or malformed.
fn open_shard(shard: &types::Shard) -> Option<Shard> {
    let sequence = shard.sequence_number_range.as_ref();
    if sequence.is_some_and(|range| range.ending_sequence_number.is_some()) {
        return None;
    }
    let hashes = shard.hash_key_range.as_ref()?;
    let start = hashes.starting_hash_key.parse().ok()?;
    let end = hashes.ending_hash_key.parse().ok()?;
    Some(Shard::new(&*shard.shard_id, start, end))
}
