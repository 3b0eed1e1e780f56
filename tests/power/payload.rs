//! Payloads that prove themselves.

const HEADER_BYTES: usize = 12;

/// The payload of a record; at least as long as its header.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    let length = length.max(HEADER_BYTES);
    let mut bytes = Vec::with_capacity(length + 8);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The number of the record that this is the payload of, if it is one, byte for byte.
pub fn number_of(payload_read: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(payload_read.get(..8)?.try_into().ok()?);
    (payload(number, payload_read.len()) == payload_read).then_some(number)
}

/// What the record is filed under.
pub fn key_of(number: u64) -> Option<String> {
    (!number.is_multiple_of(7)).then(|| format!("key-{number}"))
}
