//! Self-verifying payloads: each names its record, and its bytes follow from that name.

use fastrand::Rng;

/// The payload of the record with this name and number: a line with both, padded to the length with
/// bytes that no other record has. Other seeds give other bytes.
#[must_use]
pub fn payload(seed: u64, name: &str, number: u64, length: usize) -> Vec<u8> {
    let mut data = format!("{name} {number}\n").into_bytes();
    let line = data.len();
    data.resize(length.max(line), 0);
    let own = name.bytes().fold(number, |own, byte| {
        own.rotate_left(9).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(byte)
    });
    Rng::with_seed(seed ^ own).fill(&mut data[line..]);
    data
}

/// The name and number in the first line.
#[must_use]
pub fn named_in(data: &[u8]) -> Option<(&str, u64)> {
    let line = data.split(|&byte| byte == b'\n').next()?;
    let (name, number) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    Some((name, number.parse().ok()?))
}

/// The same, if every byte is as generated. A shorter payload counts too.
#[must_use]
pub fn whole(seed: u64, data: &[u8]) -> Option<(&str, u64)> {
    let (name, number) = named_in(data)?;
    (payload(seed, name, number, data.len()) == data).then_some((name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_whose_it_is_and_no_byte_of_it_can_differ() {
        for length in [0, 9, 12, 5_000] {
            let mut data = payload(1, "stream-a", 17, length);
            assert_eq!(data.len(), length.max("stream-a 17\n".len()));
            assert_eq!(whole(1, &data), Some(("stream-a", 17)));
            assert_eq!(whole(2, &data).is_some(), length < 13, "another seed");
            let last = data.len() - 1;
            data[last] ^= 1;
            assert_eq!(whole(1, &data), None);
        }
        assert_eq!(named_in(b"stream-a x\n"), None);
        assert_ne!(payload(1, "a", 1, 99), payload(1, "b", 1, 99));
    }
}
