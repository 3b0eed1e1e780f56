//! The services' limits, enforced as the services do.

use super::protocol::Put;
use super::reply::Refusal;
use super::request::Service;

const MIB: usize = 1024 * 1024;
const MAX_RECORDS: usize = 500;
const MAX_KEY_CHARS: usize = 256;

impl Service {
    const fn max_request_bytes(self) -> usize {
        match self {
            Self::Kinesis => 10 * MIB,
            Self::Firehose => 4 * MIB,
        }
    }

    const fn max_record_bytes(self) -> usize {
        match self {
            Self::Kinesis => 10 * MIB,
            Self::Firehose => 1000 * 1024,
        }
    }

    const fn max_name_bytes(self) -> usize {
        match self {
            Self::Kinesis => 128,
            Self::Firehose => 64,
        }
    }
}

/// The refusal for the limit that a request breaks, if any.
pub(super) fn violation(put: &Put<'_>) -> Option<Refusal> {
    let invalid = |problem| {
        let refusal = Refusal::new(400, "ValidationException");
        refusal.message(format!("1 validation error: {problem}"))
    };
    let most = put.service.max_request_bytes();
    if let Err(problem) = check(put) {
        return Some(invalid(problem));
    }
    (put.bytes > most).then(|| {
        Refusal::new(400, "InvalidArgumentException").message(format!(
            "Records size exceeds the limit: {} bytes, at most {most} are allowed",
            put.bytes
        ))
    })
}

/// Checks the stream's name and each record.
fn check(put: &Put<'_>) -> Result<(), String> {
    let service = put.service;
    let name = put.stream.rsplit_once(":stream/");
    let name = name.map_or(&*put.stream, |(_arn, name)| name);
    let name_fits = (1..=service.max_name_bytes()).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !name_fits {
        return Err(format!(
            "Value '{}' at the stream name failed to satisfy constraint",
            put.stream
        ));
    }
    if put.records.is_empty() || put.records.len() > MAX_RECORDS {
        return Err(format!(
            "Value at 'records' failed to satisfy constraint: {} records, 1 to {MAX_RECORDS} are allowed",
            put.records.len()
        ));
    }
    let most = service.max_record_bytes();
    for (at, record) in (1..).zip(&put.records) {
        let key_chars = record.key().map(|key| key.chars().count());
        match (service, key_chars) {
            (Service::Kinesis, Some(1..=MAX_KEY_CHARS)) | (Service::Firehose, None) => {}
            (Service::Kinesis, None) => {
                return Err(format!(
                    "Value null at 'records.{at}.member.partitionKey' failed to satisfy constraint"
                ));
            }
            (Service::Kinesis, Some(chars)) => {
                return Err(format!(
                    "Value at 'records.{at}.member.partitionKey' failed to satisfy constraint: \
                     {chars} characters"
                ));
            }
            (Service::Firehose, Some(_)) => {
                return Err(format!("'records.{at}.member' has a partition key"));
            }
        }
        if record.size() > most {
            return Err(format!(
                "Value at 'records.{at}.member.data' failed to satisfy constraint: \
                 {} bytes, at most {most} are allowed",
                record.size()
            ));
        }
    }
    Ok(())
}
