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
    let service = put.service;
    let name = put.stream.rsplit_once(":stream/");
    let name = name.map_or(&*put.stream, |(_arn, name)| name);
    let name_fits = (1..=service.max_name_bytes()).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !name_fits {
        return Some(validation(format!(
            "Value '{}' at the stream name failed to satisfy constraint",
            put.stream
        )));
    }
    if put.records.is_empty() || put.records.len() > MAX_RECORDS {
        return Some(validation(format!(
            "Value at 'records' failed to satisfy constraint: {} records, allowed are 1 to {MAX_RECORDS}",
            put.records.len()
        )));
    }
    for (index, record) in put.records.iter().enumerate() {
        let at = index + 1;
        match (service, record.key()) {
            (Service::Kinesis, None) => {
                return Some(validation(format!(
                    "Value null at 'records.{at}.member.partitionKey' failed to satisfy constraint"
                )));
            }
            (Service::Kinesis, Some(key)) => {
                let chars = key.chars().count();
                if !(1..=MAX_KEY_CHARS).contains(&chars) {
                    return Some(validation(format!(
                        "Value at 'records.{at}.member.partitionKey' failed to satisfy constraint: {chars} characters"
                    )));
                }
            }
            (Service::Firehose, Some(_)) => {
                return Some(validation(format!(
                    "'records.{at}.member' has a partition key"
                )));
            }
            (Service::Firehose, None) => {}
        }
        if record.size() > service.max_record_bytes() {
            return Some(validation(format!(
                "Value at 'records.{at}.member.data' failed to satisfy constraint: {} bytes, allowed are {}",
                record.size(),
                service.max_record_bytes()
            )));
        }
    }
    if put.bytes > service.max_request_bytes() {
        return Some(
            Refusal::new(400, "InvalidArgumentException").message(format!(
                "Records size exceeds the limit: {} bytes, allowed are {}",
                put.bytes,
                service.max_request_bytes()
            )),
        );
    }
    None
}

fn validation(message: String) -> Refusal {
    Refusal::new(400, "ValidationException").message(format!("1 validation error: {message}"))
}
