//! Decodes an aggregate.

use super::proto::{Field, fields};
use super::{CHECKSUM_BYTES, MAGIC};
use crate::event::{Event, md5};

/// An aggregate with a correct checksum that cannot be decoded.
///
/// ```
/// use aggregation::kpl::decode;
///
/// fn read(record: &[u8]) {
///     match decode(record) {
///         Ok(Some(events)) => println!("{} events", events.len()),
///         Ok(None) => println!("one event"),
///         // Its writer is at fault: no later attempt will succeed.
///         Err(malformed) => eprintln!("skipped a record: {malformed}"),
///     }
/// }
/// # read(b"an order");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the aggregate is malformed: {0}")]
pub struct Malformed(pub(super) &'static str);

/// Decodes the events of a record. `None` if its first bytes or its checksum show that it is not an
/// aggregate. Tags are skipped.
///
/// ```
/// use aggregation::kpl::{Malformed, decode};
///
/// /// The payloads of a record, whether or not it is an aggregate.
/// fn payloads(record: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
///     Ok(match decode(record)? {
///         Some(events) => events.into_iter().map(|event| event.data).collect(),
///         None => vec![record],
///     })
/// }
/// assert_eq!(payloads(b"an order")?, [b"an order"]);
/// # Ok::<(), Malformed>(())
/// ```
///
/// # Errors
/// [`Malformed`] when the record is an aggregate but cannot be decoded.
pub fn decode(record: &[u8]) -> Result<Option<Vec<Event<'_>>>, Malformed> {
    let Some(rest) = record.strip_prefix(&MAGIC) else {
        return Ok(None);
    };
    let Some((message, checksum)) = rest.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Ok(None);
    };
    if md5([message]) != *checksum {
        return Ok(None);
    }
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    fields(message, |number, field| {
        match (number, field) {
            (1, Field::Bytes(key)) => keys.push(text(key)?),
            (2, Field::Bytes(key)) => hash_keys.push(hash_key(key)?),
            (3, Field::Bytes(record)) => records.push(Indexes::read(record)?),
            (1..=3, _) => return Err(Malformed("a field has the wrong type")),
            _ => {}
        }
        Ok(())
    })?;
    records
        .iter()
        .map(|record| record.event(&keys, &hash_keys))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A record as it appears in the message. The tables may come after it.
struct Indexes<'a> {
    key: u64,
    hash_key: Option<u64>,
    data: &'a [u8],
}

impl<'a> Indexes<'a> {
    fn read(record: &'a [u8]) -> Result<Self, Malformed> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        fields(record, |number, field| {
            match (number, field) {
                (1, Field::Number(index)) => key = Some(index),
                (2, Field::Number(index)) => hash_key = Some(index),
                (3, Field::Bytes(bytes)) => data = Some(bytes),
                (1..=3, _) => return Err(Malformed("a field has the wrong type")),
                _ => {}
            }
            Ok(())
        })?;
        let (Some(key), Some(data)) = (key, data) else {
            return Err(Malformed("a record has no key or no data"));
        };
        Ok(Self {
            key,
            hash_key,
            data,
        })
    }

    fn event(&self, keys: &[&'a str], hash_keys: &[u128]) -> Result<Event<'a>, Malformed> {
        Ok(Event {
            partition_key: at(keys, self.key)?,
            explicit_hash_key: self.hash_key.map(|key| at(hash_keys, key)).transpose()?,
            data: self.data,
        })
    }
}

fn at<T: Copy>(table: &[T], index: u64) -> Result<T, Malformed> {
    let index = usize::try_from(index).ok();
    let key = index.and_then(|index| table.get(index)).copied();
    key.ok_or(Malformed("a key is not in its table"))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a key is not UTF-8"))
}

fn hash_key(bytes: &[u8]) -> Result<u128, Malformed> {
    let number = text(bytes)?.parse();
    number.map_err(|_| Malformed("a hash key is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(message: &[u8]) -> Vec<u8> {
        let checksum = md5([message]);
        [&MAGIC[..], message, &checksum].concat()
    }

    #[test]
    fn what_is_no_aggregate_is_left_alone() {
        let aggregate = sealed(b"\x0a\x01a\x1a\x04\x08\x00\x1a\x00");
        assert!(decode(&aggregate).unwrap().is_some());
        let mut damaged = aggregate.clone();
        damaged[6] ^= 1;
        for record in [
            &b""[..],
            b"hello",
            &MAGIC,
            &aggregate[..aggregate.len() - 1],
            &damaged,
        ] {
            assert_eq!(decode(record), Ok(None), "{record:?}");
        }
    }

    #[test]
    fn unknown_fields_and_tags_are_passed_over_in_any_order() {
        let aggregate = sealed(
            b"\x1a\x0c\x1a\x01x\x22\x03\x0a\x01t\x10\x00\x08\x00\
              \x25\x00\x00\x00\x00\x29\x00\x00\x00\x00\x00\x00\x00\x00\x30\x01\
              \x12\x017\x0a\x01a",
        );
        let event = Event::new("a", b"x").with_explicit_hash_key(7);
        assert_eq!(decode(&aggregate), Ok(Some(vec![event])));
    }

    #[test]
    fn a_malformed_aggregate_is_told_from_none() {
        for message in [
            &b"\x0a"[..],
            b"\x0a\x05a",
            b"\x0a\x01\xff",
            b"\x12\x01x",
            b"\x12\x28340282366920938463463374607431768211456",
            b"\x08\x01",
            b"\x0b",
            b"\x1a\x02\x08\x00",
            b"\x1a\x02\x1a\x00",
            b"\x1a\x04\x08\x00\x1a\x00",
            b"\x0a\x01a\x1a\x06\x08\x00\x10\x00\x1a\x00",
            b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode(&sealed(message)).is_err(), "{message:?}");
        }
        assert_eq!(decode(&sealed(b"")), Ok(Some(Vec::new())));
    }
}
