//! Writes requests in CBOR (RFC 8949), with definite lengths only.

use super::entry::{Entry, Operation, Target, digits};

const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;

const DATA: &str = "Data";
const PARTITION_KEY: &str = "PartitionKey";
const EXPLICIT_HASH_KEY: &str = "ExplicitHashKey";
const RECORDS: &str = "Records";

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
    let size = head_size(2)
        + text_size(stream_member)
        + text_size(target.as_str())
        + text_size(RECORDS)
        + head_size(count)
        + records;
    let mut body = lend(size);
    head(&mut body, MAP, 2);
    text(&mut body, stream_member);
    text(&mut body, target.as_str());
    text(&mut body, RECORDS);
    head(&mut body, ARRAY, count);
    for entry in entries {
        write_entry(&mut body, entry);
    }
    debug_assert_eq!(body.len(), size);
    body
}

fn members(entry: Entry<'_>) -> usize {
    1 + usize::from(entry.partition_key.is_some()) + usize::from(entry.explicit_hash_key.is_some())
}

fn entry_size(entry: Entry<'_>) -> usize {
    let mut size = head_size(members(entry)) + text_size(DATA);
    size += head_size(entry.data.len()) + entry.data.len();
    if let Some(key) = entry.partition_key {
        size += text_size(PARTITION_KEY) + text_size(key);
    }
    if let Some(hash_key) = entry.explicit_hash_key {
        let digits = digits(hash_key);
        size += text_size(EXPLICIT_HASH_KEY) + head_size(digits) + digits;
    }
    size
}

fn write_entry(body: &mut Vec<u8>, entry: Entry<'_>) {
    head(body, MAP, members(entry));
    text(body, DATA);
    head(body, BYTES, entry.data.len());
    body.extend_from_slice(entry.data);
    if let Some(key) = entry.partition_key {
        text(body, PARTITION_KEY);
        text(body, key);
    }
    if let Some(hash_key) = entry.explicit_hash_key {
        text(body, EXPLICIT_HASH_KEY);
        text(body, &hash_key.to_string());
    }
}

fn text_size(text: &str) -> usize {
    head_size(text.len()) + text.len()
}

fn text(body: &mut Vec<u8>, text: &str) {
    head(body, TEXT, text.len());
    body.extend_from_slice(text.as_bytes());
}

const fn head_size(argument: usize) -> usize {
    match argument as u64 {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// Writes a type and its argument, in the fewest bytes that hold it.
fn head(body: &mut Vec<u8>, major: u8, argument: usize) {
    let bytes = (argument as u64).to_be_bytes();
    let (info, width) = match head_size(argument) {
        1 => {
            body.push(major | bytes[7]);
            return;
        }
        2 => (24, 1),
        3 => (25, 2),
        5 => (26, 4),
        _ => (27, 8),
    };
    body.push(major | info);
    body.extend_from_slice(&bytes[8 - width..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_these_bytes() {
        let with_hash_key = Entry {
            explicit_hash_key: Some(340_282_366_920_938_463_463_374_607_431_768_211_455),
            ..Entry::new(b"\x00\xff", Some("clé"))
        };
        let entries = [Entry::new(b"hello", Some("k")), with_hash_key];
        let body = request(
            Vec::with_capacity,
            Operation::PutRecords,
            Target::Name("orders"),
            entries.iter().copied(),
        );
        let mut golden = Vec::new();
        golden.extend_from_slice(b"\xa2\x6aStreamName\x66orders\x67Records\x82");
        golden.extend_from_slice(b"\xa2\x64Data\x45hello\x6cPartitionKey\x61k");
        golden.extend_from_slice(b"\xa3\x64Data\x42\x00\xff\x6cPartitionKey\x64cl\xc3\xa9");
        golden.extend_from_slice(
            b"\x6fExplicitHashKey\x78\x27340282366920938463463374607431768211455",
        );
        assert_eq!(body, golden);
    }

    #[test]
    fn a_stream_may_be_named_by_its_arn() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        let body = request(
            Vec::with_capacity,
            Operation::PutRecords,
            Target::Arn(arn),
            [].into_iter(),
        );
        let mut golden = b"\xa2\x69StreamARN\x78\x34".to_vec();
        golden.extend_from_slice(arn.as_bytes());
        golden.extend_from_slice(b"\x67Records\x80");
        assert_eq!(body, golden);
    }

    #[test]
    fn lengths_take_the_fewest_bytes_that_hold_them() {
        for (length, golden) in [
            (0, &b"\x40"[..]),
            (23, b"\x57"),
            (24, b"\x58\x18"),
            (255, b"\x58\xff"),
            (256, b"\x59\x01\x00"),
            (65_535, b"\x59\xff\xff"),
            (65_536, b"\x5a\x00\x01\x00\x00"),
            (10_485_760, b"\x5a\x00\xa0\x00\x00"),
        ] {
            let mut body = Vec::new();
            head(&mut body, BYTES, length);
            assert_eq!(body, golden, "{length}");
            assert_eq!(head_size(length), golden.len(), "{length}");
        }
    }

    #[test]
    fn the_buffer_is_as_large_as_the_request() {
        let payload = vec![7; 70_000];
        for count in [0, 1, 23, 24, 500] {
            let entries = (0..count).map(|n: usize| Entry {
                explicit_hash_key: n.is_multiple_of(3).then_some(n as u128 * 1_000),
                ..Entry::new(&payload[..n * 140], Some("key"))
            });
            let body = request(
                Vec::with_capacity,
                Operation::PutRecords,
                Target::Name("s"),
                entries,
            );
            assert_eq!(body.len(), body.capacity(), "{count}");
        }
    }
}
