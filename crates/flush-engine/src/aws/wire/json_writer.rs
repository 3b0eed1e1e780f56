//! Writes requests in JSON, with base64 encoded straight into the body.

use std::io::Write as _;

use base64_simd::STANDARD;

use super::entry::{Entry, Operation, Target, digits};

const RECORDS: &str = r#"","Records":["#;
const DATA: &str = r#"{"Data":""#;
const PARTITION_KEY: &str = r#"","PartitionKey":""#;
const EXPLICIT_HASH_KEY: &str = r#"","ExplicitHashKey":""#;
const END_OF_ENTRY: &str = r#""}"#;

/// Writes a request body into one buffer, which is lent once its size is known.
pub(super) fn request<'a>(
    lend: impl FnOnce(usize) -> Vec<u8>,
    operation: Operation,
    target: Target<'_>,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Vec<u8> {
    let stream_member = operation.stream_member(target);
    let (count, records) = entries.clone().fold((0_usize, 0), |(count, bytes), entry| {
        (count + 1, bytes + entry_size(entry))
    });
    let size = r#"{"":""#.len()
        + stream_member.len()
        + escaped_size(target.as_str())
        + RECORDS.len()
        + records
        + count.saturating_sub(1)
        + "]}".len();
    let mut body = lend(size);
    push(&mut body, r#"{""#);
    push(&mut body, stream_member);
    push(&mut body, r#"":""#);
    escape(&mut body, target.as_str());
    push(&mut body, RECORDS);
    for (place, entry) in entries.enumerate() {
        if place > 0 {
            body.push(b',');
        }
        write_entry(&mut body, entry);
    }
    push(&mut body, "]}");
    debug_assert_eq!(body.len(), size);
    body
}

fn entry_size(entry: Entry<'_>) -> usize {
    let mut size = DATA.len() + entry.data.len().div_ceil(3) * 4 + END_OF_ENTRY.len();
    if let Some(key) = entry.partition_key {
        size += PARTITION_KEY.len() + escaped_size(key);
    }
    if let Some(hash_key) = entry.explicit_hash_key {
        size += EXPLICIT_HASH_KEY.len() + digits(hash_key);
    }
    size
}

fn write_entry(body: &mut Vec<u8>, entry: Entry<'_>) {
    push(body, DATA);
    STANDARD.encode_append(entry.data, body);
    if let Some(key) = entry.partition_key {
        push(body, PARTITION_KEY);
        escape(body, key);
    }
    if let Some(hash_key) = entry.explicit_hash_key {
        push(body, EXPLICIT_HASH_KEY);
        push(body, &hash_key.to_string());
    }
    push(body, END_OF_ENTRY);
}

fn push(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
}

fn escaped_size(text: &str) -> usize {
    let size = |byte| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(size).sum()
}

fn escape(body: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => body.extend_from_slice(&[b'\\', byte]),
            // Writing to a vector cannot fail.
            0..0x20 => _ = write!(body, "\\u{byte:04x}"),
            _ => body.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_these_bytes() {
        let with_hash_key = Entry {
            explicit_hash_key: Some(0),
            ..Entry::new(b"", Some("a\"\\\n\u{1f}é"))
        };
        let entries = [Entry::new(b"hello", Some("k")), with_hash_key];
        let body = request(
            Vec::with_capacity,
            Operation::PutRecords,
            Target::Name("orders"),
            entries.iter().copied(),
        );
        let golden = r#"{"StreamName":"orders","Records":[{"Data":"aGVsbG8=","PartitionKey":"k"},"#;
        let golden = format!(
            r#"{golden}{{"Data":"","PartitionKey":"a\"\\\u000a\u001fé","ExplicitHashKey":"0"}}]}}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), golden);
    }

    #[test]
    fn firehose_has_no_keys() {
        let entries = [Entry::new(b"\xfb\xff", None), Entry::new(b"x", None)];
        let body = request(
            Vec::with_capacity,
            Operation::PutRecordBatch,
            Target::Name("d"),
            entries.iter().copied(),
        );
        let golden = r#"{"DeliveryStreamName":"d","Records":[{"Data":"+/8="},{"Data":"eA=="}]}"#;
        assert_eq!(String::from_utf8(body).unwrap(), golden);
    }

    #[test]
    fn the_buffer_is_as_large_as_the_request() {
        let payload = vec![7; 70_000];
        for count in [0, 1, 2, 500] {
            let entries = (0..count).map(|n: usize| Entry {
                explicit_hash_key: n.is_multiple_of(3).then_some(n as u128 * 1_000),
                ..Entry::new(&payload[..n * 140], Some("k\ney\""))
            });
            let body = request(
                Vec::with_capacity,
                Operation::PutRecords,
                Target::Name("s"),
                entries,
            );
            assert_eq!(body.len(), body.capacity(), "{count}");
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["Records"].as_array().unwrap().len(), count);
        }
    }
}
