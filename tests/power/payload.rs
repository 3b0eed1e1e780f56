//! The payloads of this suite, derived from record numbers.

use amplify_test_support::payload;

/// The payload of a record. It is at least long enough for the number.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    payload::payload(0, "r", number, length)
}

/// The number of the record with this payload, if the payload is intact.
pub fn number_of(payload: &[u8]) -> Option<u64> {
    payload::whole(0, payload).map(|(_, number)| number)
}

/// The key of a record, if it has one.
pub fn key_of(number: u64) -> Option<String> {
    (!number.is_multiple_of(7)).then(|| format!("key-{number}"))
}
