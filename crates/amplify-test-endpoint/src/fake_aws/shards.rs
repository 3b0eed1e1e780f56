//! The shards of Kinesis streams, and the response to `ListShards`.

use std::collections::HashMap;

use aggregation::{Shard, ShardMap, hash_key};
use serde::Deserialize;
use serde_json::json;

use super::judge::Plan;
use super::protocol;
use super::protocol::{EncodedRecord, Format, JSON, Put};
use super::reply::{Refusal, Reply};
use super::request::Service;
use super::state::Shared;

/// The header `X-Amz-Target` of a `ListShards` request.
pub(super) const LIST_SHARDS: &str = "Kinesis_20131202.ListShards";
/// The only shard of a stream, by default.
pub(super) const ONLY_SHARD: &str = "shardId-000000000000";
/// Shards per page.
const PAGE: usize = 3;

/// The shards of each stream, and how `ListShards` is answered.
#[derive(Default)]
pub(super) struct Shards {
    pub(super) of_stream: HashMap<String, ShardMap>,
    /// Sent instead of a list.
    pub(super) reply: Option<Reply>,
    pub(super) listings: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShards {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
}

impl Shards {
    /// The shard of each record of a request; empty if there is only one shard.
    pub(super) fn of_records(&self, put: &Put<'_>) -> Vec<String> {
        let shards = self.of_stream.get(&*put.stream);
        let (Service::Kinesis, Some(shards)) = (put.service, shards) else {
            return Vec::new();
        };
        let shard = |record: &EncodedRecord<'_>| {
            let explicit = record.hash_key().and_then(|key| key.parse().ok());
            let hash = explicit.unwrap_or_else(|| hash_key(record.key().unwrap_or_default()));
            let shard = shards.shard_of(hash);
            shard.map_or_else(|| ONLY_SHARD.to_owned(), |shard| shard.id.clone())
        };
        put.records.iter().map(shard).collect()
    }
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

fn number(page: &str) -> usize {
    page.parse().unwrap_or_default()
}

/// Answers a `ListShards` request.
pub(super) fn list(body: &[u8], shared: &Shared) -> Plan {
    let Ok(asked) = serde_json::from_slice::<ListShards>(body) else {
        return Plan::refuse(&Refusal::new(400, "SerializationException"), Format::Json);
    };
    // A token is the stream's name and the page number.
    let token = asked.next_token.as_deref();
    let token = token.and_then(|token| token.rsplit_once('/'));
    let arn = asked.stream_arn.as_deref();
    let (stream, page) = match (asked.stream_name.as_deref(), arn, token) {
        (Some(stream), None, None) if !is_arn(stream) => (stream, 0),
        (None, Some(arn), None) if is_arn(arn) => (arn, 0),
        (None, None, Some((stream, page))) if !is_arn(stream) => (stream, number(page)),
        // Later pages also carry the ARN, which determines the endpoint.
        (None, Some(arn), Some((stream, page))) if arn == stream => (stream, number(page)),
        _ => return Plan::refuse(&Refusal::new(400, "InvalidArgumentException"), Format::Json),
    };
    let (listed, reply) = shared.update(|state| {
        state.shards.listings += usize::from(page == 0);
        let listed = state.shards.of_stream.get(stream).cloned();
        (listed, state.shards.reply.clone())
    });
    if let Some(plan) = reply.and_then(|reply| Plan::without_records(&reply, Format::Json)) {
        return plan;
    }
    let all = || ShardMap::new([Shard::new(ONLY_SHARD, 0, u128::MAX)]);
    let listed = listed.map_or_else(all, Ok).unwrap_or_default();
    let shards: Vec<_> = listed.shards().chunks(PAGE).collect();
    let is_last = page + 1 >= shards.len();
    let on_page = shards.get(page).copied().unwrap_or_default().iter();
    let answer = json!({
        "Shards": on_page.map(|shard| json!({
            "ShardId": shard.id,
            "HashKeyRange": {
                "StartingHashKey": shard.start.to_string(),
                "EndingHashKey": shard.end.to_string(),
            },
            "SequenceNumberRange": { "StartingSequenceNumber": protocol::sequence(0) },
        })).collect::<Vec<_>>(),
        "NextToken": (!is_last).then(|| format!("{stream}/{}", page + 1)),
    });
    Plan::answer(200, JSON, answer.to_string().as_bytes())
}
