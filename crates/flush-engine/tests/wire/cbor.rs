//! CBOR as the service reads it: values of definite length, and only what a request needs.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(crate) fn map(members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        Self::Map(members.into_iter().map(named).collect())
    }
}

/// Decodes the bytes as exactly one value.
pub(crate) fn decode(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = value(&mut rest);
    assert_eq!(rest, b"", "bytes are left");
    value
}

fn value(rest: &mut &[u8]) -> Value {
    let first = take(rest, 1)[0];
    let length = match first & 0x1f {
        info @ 0..24 => usize::from(info),
        info @ 24..28 => take(rest, 1 << (info - 24))
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)),
        info => panic!("a length of kind {info}"),
    };
    match first >> 5 {
        2 => Value::Bytes(take(rest, length).to_vec()),
        3 => Value::Text(String::from_utf8(take(rest, length).to_vec()).unwrap()),
        4 => Value::Array((0..length).map(|_| value(rest)).collect()),
        5 => Value::Map((0..length).map(|_| member(rest)).collect()),
        major => panic!("a value of type {major}"),
    }
}

fn member(rest: &mut &[u8]) -> (String, Value) {
    match value(rest) {
        Value::Text(name) => (name, value(rest)),
        name => panic!("a name that is not text: {name:?}"),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    rest.split_off(..length).expect("enough bytes")
}
