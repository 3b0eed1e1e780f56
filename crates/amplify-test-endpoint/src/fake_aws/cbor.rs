//! Reads requests and writes responses of `PutRecords` in CBOR, which Kinesis accepts besides JSON.

use std::borrow::Cow;

use minicbor::data::Type;
use minicbor::encode::write::Write;
use minicbor::{Decoder, Encoder, decode, encode};

use super::protocol::{self, EncodedRecord, Format, KINESIS_PUT, Put, unreadable};
use super::reply::Refusal;
use super::request::Service;

/// The content type of requests and responses.
pub(super) const CBOR: &str = "application/x-amz-cbor-1.1";

/// Reads the body of a request to `target`; lengths must be definite.
pub(super) fn parse<'a>(target: &str, body: &'a [u8]) -> Result<Put<'a>, Refusal> {
    if target != KINESIS_PUT {
        return Err(protocol::unknown_operation(target));
    }
    let (mut name, mut arn, mut records) = (None, None, None);
    each_member(&mut Decoder::new(body), |member, decoder| {
        match member {
            "StreamName" => name = optional(decoder)?,
            "StreamARN" => arn = optional(decoder)?,
            "Records" => records = Some(read_records(decoder)?),
            _ => decoder.skip()?,
        }
        Ok(())
    })
    .map_err(unreadable)?;
    let stream = protocol::stream(name.map(Cow::Borrowed), arn.map(Cow::Borrowed))?;
    let records = records.ok_or_else(|| unreadable("there are no Records"))?;
    Ok(Put::new(Service::Kinesis, Format::Cbor, stream, records))
}

fn read_records<'a>(decoder: &mut Decoder<'a>) -> Result<Vec<EncodedRecord<'a>>, decode::Error> {
    let count = definite(decoder.array()?)?;
    // A claimed count must not allocate memory.
    let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(1000));
    for _ in 0..count {
        let (mut data, mut key, mut hash_key) = (None, None, None);
        each_member(decoder, |member, decoder| {
            match member {
                "Data" => data = Some(decoder.bytes()?),
                "PartitionKey" => key = optional(decoder)?,
                "ExplicitHashKey" => hash_key = optional(decoder)?,
                _ => decoder.skip()?,
            }
            Ok(())
        })?;
        let data = data.ok_or_else(|| decode::Error::message("a record has no Data"))?;
        records.push(EncodedRecord::raw(data, key, hash_key));
    }
    Ok(records)
}

fn each_member<'a>(
    decoder: &mut Decoder<'a>,
    mut read: impl FnMut(&str, &mut Decoder<'a>) -> Result<(), decode::Error>,
) -> Result<(), decode::Error> {
    for _ in 0..definite(decoder.map()?)? {
        let member = decoder.str()?;
        read(member, decoder)?;
    }
    Ok(())
}

fn definite(length: Option<u64>) -> Result<u64, decode::Error> {
    length.ok_or_else(|| decode::Error::message("an indefinite length"))
}

fn optional<'a>(decoder: &mut Decoder<'a>) -> Result<Option<&'a str>, decode::Error> {
    match decoder.datatype()? {
        Type::Null => decoder.null().map(|()| None),
        _ => decoder.str().map(Some),
    }
}

/// The response to a put; see [`protocol::put_answer`].
pub(super) fn put_answer(
    count: usize,
    codes: &[Option<String>],
    shards: &[String],
    first_sequence: u64,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + 128 * count);
    // Writing to a vector cannot fail.
    let _ = write_answer(
        &mut Encoder::new(&mut body),
        count,
        codes,
        shards,
        first_sequence,
    );
    body
}

fn write_answer<W: Write>(
    encoder: &mut Encoder<W>,
    count: usize,
    codes: &[Option<String>],
    shards: &[String],
    first_sequence: u64,
) -> Result<(), encode::Error<W::Error>> {
    let failed = codes.iter().take(count).flatten().count();
    encoder
        .map(2)?
        .str("FailedRecordCount")?
        .u64(failed as u64)?;
    encoder.str("Records")?.array(count as u64)?;
    for (index, sequence) in (0..count).zip(first_sequence..) {
        encoder.map(2)?;
        match codes.get(index).and_then(Option::as_deref) {
            Some(code) => encoder
                .str("ErrorCode")?
                .str(code)?
                .str("ErrorMessage")?
                .str("the record was refused by this endpoint")?,
            None => encoder
                .str("SequenceNumber")?
                .str(&protocol::sequence(sequence))?
                .str("ShardId")?
                .str(protocol::shard(shards, index))?,
        };
    }
    Ok(())
}

/// The body of a refusal with a message and perhaps a code.
pub(super) fn refusal_body(code: Option<&str>, message: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut encoder = Encoder::new(&mut body);
    let mut write = || -> Result<(), encode::Error<_>> {
        encoder.map(1 + u64::from(code.is_some()))?;
        if let Some(code) = code {
            encoder.str("__type")?.str(code)?;
        }
        encoder.str("message")?.str(message)?;
        Ok(())
    };
    // Writing to a vector cannot fail.
    let _ = write();
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Result<Vec<u8>, encode::Error<std::convert::Infallible>> {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        encoder.map(3)?.str("StreamName")?.str("orders")?;
        encoder.str("StreamARN")?.null()?;
        encoder.str("Records")?.array(2)?;
        encoder.map(2)?.str("Data")?.bytes(b"abc")?;
        encoder.str("PartitionKey")?.str("k")?;
        encoder.map(3)?.str("Data")?.bytes(b"")?;
        encoder.str("ExplicitHashKey")?.str("1")?;
        encoder.str("PartitionKey")?.str("key")?;
        Ok(body)
    }

    #[test]
    fn a_put_is_read_with_its_sizes() {
        let body = request().unwrap();
        let put = parse(KINESIS_PUT, &body).unwrap();
        assert_eq!(put.stream, "orders");
        assert_eq!(put.bytes, 3 + 1 + 3);
        let records = put.decode().unwrap();
        assert_eq!(&records[0].data[..], b"abc");
        assert_eq!(records[1].partition_key.as_deref(), Some("key"));
        assert_eq!(records[1].explicit_hash_key.as_deref(), Some("1"));
    }

    #[test]
    fn no_part_of_a_request_is_taken_for_one() {
        let body = request().unwrap();
        for length in 0..body.len() {
            let refusal = parse(KINESIS_PUT, &body[..length]).err().unwrap();
            assert_eq!(refusal.code.as_deref(), Some("SerializationException"));
        }
        assert!(parse("Firehose_20150804.PutRecordBatch", &body).is_err());
    }

    #[test]
    fn answers_have_one_entry_for_each_record() {
        let codes = [None, Some("code".to_owned())];
        let body = put_answer(2, &codes, &["shard-0".to_owned()], 7);
        let mut members = Vec::new();
        each_member(&mut Decoder::new(&body), |member, decoder| {
            members.push(member.to_owned());
            match member {
                "FailedRecordCount" => assert_eq!(decoder.u64()?, 1),
                _ => assert_eq!(decoder.array()?, Some(2)),
            }
            if member == "Records" {
                each_member(decoder, |member, decoder| {
                    members.push(format!("{member}={}", decoder.str()?));
                    Ok(())
                })?;
            }
            Ok(())
        })
        .unwrap();
        let sequence = format!("SequenceNumber={}", protocol::sequence(7));
        let expected = ["FailedRecordCount", "Records", &sequence, "ShardId=shard-0"];
        assert_eq!(members, expected);
    }
}
