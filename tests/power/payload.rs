//! The payloads of this suite, derived from their numbers.

use amplify_test_support::payload;

/// The payload of a record; at least as long as it takes to say its number.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    payload::payload(0, "r", number, length)
}

/// The number of the record that this is the payload of, if it is one, byte for byte.
pub fn number_of(payload: &[u8]) -> Option<u64> {
    payload::whole(0, payload).map(|(_, number)| number)
}

/// What the record is filed under.
pub fn key_of(number: u64) -> Option<String> {
    (!number.is_multiple_of(7)).then(|| format!("key-{number}"))
}
