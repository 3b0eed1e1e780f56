//! Reads and answers puts as they are on the wire, in JSON (awsJson1_1); CBOR has its own module.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64_simd::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::cbor::{self, CBOR};
use super::reply::{CodeIn, Refusal};
use super::request::{PutRecord, Service};
use super::shards::ONLY_SHARD;

/// The content type of requests and responses.
pub(super) const JSON: &str = "application/x-amz-json-1.1";

pub(super) const KINESIS_PUT: &str = "Kinesis_20131202.PutRecords";

/// The format of a request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Cbor,
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
        }
    }
}

/// A request as sent: payloads not decoded yet, text borrowed from the body.
pub(super) struct Put<'a> {
    pub(super) service: Service,
    pub(super) format: Format,
    pub(super) stream: Cow<'a, str>,
    pub(super) records: Vec<EncodedRecord<'a>>,
    pub(super) bytes: usize,
}

#[derive(Deserialize)]
pub(super) struct EncodedRecord<'a> {
    /// In base64.
    #[serde(rename = "Data", borrow)]
    data: Text<'a>,
    /// The raw payload, for formats without base64.
    #[serde(skip)]
    raw: Option<&'a [u8]>,
    #[serde(rename = "PartitionKey", borrow, default)]
    partition_key: Option<Text<'a>>,
    #[serde(rename = "ExplicitHashKey", borrow, default)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct KinesisBody<'a> {
    #[serde(rename = "StreamName", borrow, default)]
    name: Option<Text<'a>>,
    #[serde(rename = "StreamARN", borrow, default)]
    arn: Option<Text<'a>>,
    #[serde(rename = "Records", borrow)]
    records: Vec<EncodedRecord<'a>>,
}

#[derive(Deserialize)]
struct FirehoseBody<'a> {
    #[serde(rename = "DeliveryStreamName", borrow)]
    stream: Text<'a>,
    #[serde(rename = "Records", borrow)]
    records: Vec<EncodedRecord<'a>>,
}

// serde only borrows a `Cow` that stands alone, not one within an `Option`.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Put<'a> {
    /// Reads the body of a request to `target`, the header `X-Amz-Target`.
    pub(super) fn parse(target: &str, body: &'a [u8]) -> Result<Self, Refusal> {
        let (service, stream, records) = match target {
            KINESIS_PUT => {
                let body: KinesisBody<'_> = serde_json::from_slice(body).map_err(unreadable)?;
                let text = |text: Text<'a>| text.0;
                let stream = stream(body.name.map(text), body.arn.map(text))?;
                (Service::Kinesis, stream, body.records)
            }
            "Firehose_20150804.PutRecordBatch" => {
                let body: FirehoseBody<'_> = serde_json::from_slice(body).map_err(unreadable)?;
                (Service::Firehose, body.stream.0, body.records)
            }
            _ => return Err(unknown_operation(target)),
        };
        Ok(Self::new(service, Format::Json, stream, records))
    }

    pub(super) fn new(
        service: Service,
        format: Format,
        stream: Cow<'a, str>,
        records: Vec<EncodedRecord<'a>>,
    ) -> Self {
        let bytes = records.iter().map(EncodedRecord::size).sum();
        Self {
            service,
            format,
            stream,
            records,
            bytes,
        }
    }

    /// Decodes all payloads into one buffer that the records share.
    pub(super) fn decode(&self) -> Result<Vec<PutRecord>, Refusal> {
        let total = self.records.iter().map(EncodedRecord::data_len).sum();
        let mut buffer = Vec::with_capacity(total);
        let mut ends = Vec::with_capacity(self.records.len());
        for record in &self.records {
            match record.raw {
                Some(raw) => buffer.extend_from_slice(raw),
                None => STANDARD
                    .decode_append(record.data.0.as_bytes(), &mut buffer)
                    .map_err(unreadable)?,
            }
            ends.push(buffer.len());
        }
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        let decoded = self.records.iter().zip(ends).map(|(record, end)| {
            let data = buffer.slice(start..end);
            start = end;
            PutRecord {
                data,
                partition_key: record.key().map(str::to_owned),
                explicit_hash_key: record.hash_key().map(str::to_owned),
            }
        });
        Ok(decoded.collect())
    }
}

impl<'a> EncodedRecord<'a> {
    /// A record with a raw payload, not in base64.
    pub(super) fn raw(data: &'a [u8], key: Option<&'a str>, hash_key: Option<&'a str>) -> Self {
        let text = |text: &'a str| Text(Cow::Borrowed(text));
        Self {
            data: text(""),
            raw: Some(data),
            partition_key: key.map(text),
            explicit_hash_key: hash_key.map(text),
        }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.partition_key.as_ref().map(|key| key.0.as_ref())
    }

    pub(super) fn hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_ref().map(|key| key.0.as_ref())
    }

    /// The size as the services count it: data and partition key.
    pub(super) fn size(&self) -> usize {
        self.data_len() + self.key().map_or(0, str::len)
    }

    fn data_len(&self) -> usize {
        if let Some(raw) = self.raw {
            return raw.len();
        }
        let text = self.data.0.as_bytes();
        let padding = text
            .iter()
            .rev()
            .take(2)
            .take_while(|&&byte| byte == b'=')
            .count();
        (text.len() - padding) * 3 / 4
    }
}

/// The stream of a request, from its name or ARN.
pub(super) fn stream<'a>(
    name: Option<Cow<'a, str>>,
    arn: Option<Cow<'a, str>>,
) -> Result<Cow<'a, str>, Refusal> {
    match (name, arn) {
        (Some(name), None) if !name.starts_with("arn:") => Ok(name),
        (None, Some(arn)) if arn.starts_with("arn:") => Ok(arn),
        _ => Err(unreadable("the stream has either a name or an ARN")),
    }
}

pub(super) fn unknown_operation(target: &str) -> Refusal {
    let refusal = Refusal::new(400, "UnknownOperationException");
    refusal.message(format!("unsupported operation: {target:?}"))
}

/// The response to a put, with one entry for each of `count` records. Records beyond the end of
/// `codes` are successes; records beyond the end of `shards` belong to the only shard.
pub(super) fn put_answer(
    put: &Put<'_>,
    count: usize,
    codes: &[Option<String>],
    shards: &[String],
    first_sequence: u64,
) -> Vec<u8> {
    match put.format {
        Format::Cbor => cbor::put_answer(count, codes, shards, first_sequence),
        Format::Json => json_answer(put.service, count, codes, shards, first_sequence).into_bytes(),
    }
}

fn json_answer(
    service: Service,
    count: usize,
    codes: &[Option<String>],
    shards: &[String],
    first_sequence: u64,
) -> String {
    let failed = codes.iter().take(count).flatten().count();
    let mut body = String::with_capacity(64 + 128 * count);
    // Writing to a string cannot fail.
    let _ = match service {
        Service::Kinesis => write!(body, r#"{{"FailedRecordCount":{failed},"Records":["#),
        Service::Firehose => write!(
            body,
            r#"{{"FailedPutCount":{failed},"Encrypted":false,"RequestResponses":["#
        ),
    };
    for (index, sequence) in (0..count).zip(first_sequence..) {
        if index > 0 {
            body.push(',');
        }
        let _ = match (codes.get(index).and_then(Option::as_deref), service) {
            (Some(code), _) => write!(
                body,
                r#"{{"ErrorCode":{},"ErrorMessage":"the record was refused by this endpoint"}}"#,
                serde_json::Value::from(code)
            ),
            (None, Service::Kinesis) => write!(
                body,
                r#"{{"SequenceNumber":"{}","ShardId":"{}"}}"#,
                self::sequence(sequence),
                shard(shards, index)
            ),
            (None, Service::Firehose) => write!(body, r#"{{"RecordId":"{sequence:056}"}}"#),
        };
    }
    body.push_str("]}");
    body
}

/// The shard of a record.
pub(super) fn shard(shards: &[String], index: usize) -> &str {
    shards.get(index).map_or(ONLY_SHARD, String::as_str)
}

/// A Kinesis sequence number.
pub(super) fn sequence(number: u64) -> String {
    format!("49{number:054}")
}

/// The body of a refusal.
pub(super) fn refusal_body(refusal: &Refusal, format: Format) -> Vec<u8> {
    let code = refusal.code.as_deref();
    let code = code.filter(|_| refusal.code_in != CodeIn::Header);
    let message = refusal.message.as_str();
    if format == Format::Cbor {
        return cbor::refusal_body(code, message);
    }
    let message = serde_json::Value::from(message);
    let body = match code {
        Some(code) => {
            let code = serde_json::Value::from(code);
            format!(r#"{{"__type":{code},"message":{message}}}"#)
        }
        None => format!(r#"{{"message":{message}}}"#),
    };
    body.into_bytes()
}

/// The value of the header `x-amzn-ErrorType`, if the refusal sets it.
pub(super) fn refusal_header(refusal: &Refusal) -> Option<&str> {
    match refusal.code_in {
        CodeIn::Body => None,
        CodeIn::Header | CodeIn::BodyAndHeader => refusal.code.as_deref(),
    }
}

/// Each service's refusal of a request that is throttled.
pub(super) fn throttled(service: Service) -> Refusal {
    match service {
        Service::Kinesis => Refusal::new(400, "ProvisionedThroughputExceededException")
            .message("Rate exceeded for the shard"),
        Service::Firehose => Refusal::new(503, "ServiceUnavailableException").message("Slow down."),
    }
}

/// Each service's error code for a record that is throttled.
pub(super) fn throttled_record(service: Service) -> &'static str {
    match service {
        Service::Kinesis => "ProvisionedThroughputExceededException",
        Service::Firehose => "ServiceUnavailableException",
    }
}

/// The refusal for an unknown stream.
pub(super) fn unknown_stream(stream: &str) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException").message(format!("Stream {stream} not found"))
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, "SerializationException").message(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(target: &str, body: &'a str) -> Result<Put<'a>, Refusal> {
        Put::parse(target, body.as_bytes())
    }

    #[test]
    fn a_put_is_read_with_its_sizes_and_decoded() {
        let body = r#"{"StreamARN":null,"StreamName":"orders","Records":[
            {"Data":"","PartitionKey":"k"},
            {"PartitionKey":"ä","ExplicitHashKey":"1","Data":"YQ=="},
            {"Data":"YWI=","PartitionKey":"\"k\\"},
            {"Data":"YWJj\/w==","PartitionKey":"k"}]}"#;
        let put = parse("Kinesis_20131202.PutRecords", body).unwrap();
        assert_eq!(put.service, Service::Kinesis);
        assert_eq!(put.stream, "orders");
        let sizes: Vec<_> = put.records.iter().map(EncodedRecord::size).collect();
        assert_eq!(sizes, [1, 1 + 2, 2 + 3, 4 + 1]);
        assert_eq!(put.bytes, 14);
        let records = put.decode().unwrap();
        let data: Vec<_> = records.iter().map(|record| &record.data[..]).collect();
        assert_eq!(data, [&b""[..], b"a", b"ab", b"abc\xff"]);
        let keys = records.iter().map(|record| record.partition_key.as_deref());
        assert!(keys.eq(["k", "ä", "\"k\\", "k"].map(Some)));
    }

    #[test]
    fn firehose_records_have_no_key() {
        let body = r#"{"DeliveryStreamName":"orders","Records":[{"Data":"YWJj"}]}"#;
        let put = parse("Firehose_20150804.PutRecordBatch", body).unwrap();
        assert_eq!(put.service, Service::Firehose);
        assert_eq!(put.bytes, 3);
        assert_eq!(put.decode().unwrap()[0].partition_key, None);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let code = |result: Result<Put<'_>, Refusal>| result.err().and_then(|error| error.code);
        let unknown = parse("Kinesis_20131202.PutRecord", "{}");
        assert_eq!(code(unknown).as_deref(), Some("UnknownOperationException"));
        let no_json = parse("Kinesis_20131202.PutRecords", "{");
        assert_eq!(code(no_json).as_deref(), Some("SerializationException"));

        let body = r#"{"DeliveryStreamName":"orders","Records":[{"Data":"%%%%"}]}"#;
        let put = parse("Firehose_20150804.PutRecordBatch", body).unwrap();
        let error = put.decode().err().and_then(|error| error.code);
        assert_eq!(error.as_deref(), Some("SerializationException"));
    }

    #[test]
    fn text_is_borrowed_from_the_body() {
        let body = r#"{"StreamName":"s","Records":[{"Data":"YQ==","PartitionKey":"k"}]}"#;
        let put = parse("Kinesis_20131202.PutRecords", body).unwrap();
        assert!(matches!(put.stream, Cow::Borrowed(_)));
        assert!(matches!(put.records[0].data.0, Cow::Borrowed(_)));
        let key = put.records[0].partition_key.as_ref();
        assert!(key.is_some_and(|key| matches!(key.0, Cow::Borrowed(_))));
    }

    #[test]
    fn answers_have_one_entry_for_each_record() {
        let codes = [None, Some("a\"b".to_owned())];
        let kinesis: serde_json::Value =
            serde_json::from_str(&json_answer(Service::Kinesis, 3, &codes, &[], 7)).unwrap();
        assert_eq!(kinesis["FailedRecordCount"], 1);
        assert_eq!(kinesis["Records"].as_array().map(Vec::len), Some(3));
        assert_eq!(kinesis["Records"][0]["ShardId"], "shardId-000000000000");
        let number = kinesis["Records"][2]["SequenceNumber"].as_str();
        assert!(number.is_some_and(|number| number.len() == 56 && number.ends_with("0009")));
        assert_eq!(kinesis["Records"][1]["ErrorCode"], "a\"b");

        let firehose: serde_json::Value =
            serde_json::from_str(&json_answer(Service::Firehose, 2, &codes, &[], 1)).unwrap();
        assert_eq!(firehose["FailedPutCount"], 1);
        assert_eq!(firehose["Encrypted"], false);
        assert!(firehose["RequestResponses"][0]["RecordId"].is_string());
        assert_eq!(firehose["RequestResponses"][1]["ErrorCode"], "a\"b");
    }
}
