//! Gzip members with a known size bound.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Deflate, no flags, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const TRAILER_BYTES: usize = 8;
/// On JSON events of 70 to 100 bytes, 500 per member, level 6 saves 7 % of the bytes and takes 40 %
/// more time.
const LEVEL: u32 = 2;
/// The largest content of a stored block. The next constant is the size of its header.
const MAX_BLOCK: usize = 65_535;
const BLOCK_HEADER: usize = 5;

/// The largest output of [`compress`] for an input of this size.
///
/// ```
/// use aggregation::gzip::{compress, worst_case};
///
/// let random = [0x5a, 0x17, 0xc3];
/// assert!(compress(&random).len() <= worst_case(random.len()));
/// ```
#[must_use]
pub const fn worst_case(bytes: usize) -> usize {
    let blocks = if bytes == 0 {
        1
    } else {
        bytes.div_ceil(MAX_BLOCK)
    };
    HEADER.len() + blocks * BLOCK_HEADER + bytes + TRAILER_BYTES
}

/// The largest input that [`compress`] turns into at most `bytes` bytes.
///
/// ```
/// use aggregation::gzip::{max_input, worst_case};
///
/// // How much to collect for a record of 1,000 KiB.
/// let bytes = max_input(1_024_000);
/// assert!(worst_case(bytes) <= 1_024_000);
/// ```
#[must_use]
pub const fn max_input(bytes: usize) -> usize {
    let Some(body) = bytes.checked_sub(HEADER.len() + TRAILER_BYTES) else {
        return 0;
    };
    let (full, rest) = (
        body / (MAX_BLOCK + BLOCK_HEADER),
        body % (MAX_BLOCK + BLOCK_HEADER),
    );
    full * MAX_BLOCK + rest.saturating_sub(BLOCK_HEADER)
}

/// Compresses bytes into one member, never larger than [`worst_case`]. Input that would grow is
/// stored.
///
/// ```
/// use aggregation::gzip::compress;
///
/// let log = "GET /index.html 200\n".repeat(500);
/// let member = compress(log.as_bytes());
/// assert!(member.len() < log.len() / 10);
/// assert!(member.starts_with(&[0x1f, 0x8b]));
/// ```
#[must_use]
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut member = Vec::with_capacity(worst_case(bytes.len()));
    member.extend_from_slice(&HEADER);
    let mut encoder = DeflateEncoder::new(member, Compression::new(LEVEL));
    // Writing to a vector cannot fail. If it did, the bytes would be stored.
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish());
    let mut member = match deflated {
        Ok(member) if member.len() + TRAILER_BYTES <= worst_case(bytes.len()) => member,
        _ => stored(bytes),
    };
    let mut crc = Crc::new();
    crc.update(bytes);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&crc.amount().to_le_bytes());
    member
}

/// A stored member, without its trailer.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut member = Vec::with_capacity(worst_case(bytes.len()));
    member.extend_from_slice(&HEADER);
    let mut rest = bytes;
    loop {
        let (block, behind) = rest.split_at(rest.len().min(MAX_BLOCK));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        member.push(u8::from(behind.is_empty()));
        member.extend_from_slice(&length.to_le_bytes());
        member.extend_from_slice(&(!length).to_le_bytes());
        member.extend_from_slice(block);
        if behind.is_empty() {
            return member;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn read(members: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(members);
        decoder.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Incompressible bytes.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn members_are_read_back_and_may_be_joined() {
        let lines = b"the same line again\n".repeat(1_000);
        assert!(compress(&lines).len() < lines.len() / 50);
        let joined = [compress(&lines), compress(b""), compress(&noise(100_000))].concat();
        assert_eq!(read(&joined), [lines, noise(100_000)].concat());
    }

    #[test]
    fn noise_grows_no_further_than_it_may() {
        for length in [
            0, 1, 100, 65_534, 65_535, 65_536, 131_070, 131_071, 1_000_000,
        ] {
            let noise = noise(length);
            assert!(compress(&noise).len() <= worst_case(length), "{length}");
            let mut plain = stored(&noise);
            assert_eq!(plain.len() + TRAILER_BYTES, worst_case(length), "{length}");
            let mut crc = Crc::new();
            crc.update(&noise);
            plain.extend_from_slice(&crc.sum().to_le_bytes());
            plain.extend_from_slice(&crc.amount().to_le_bytes());
            assert_eq!(read(&plain), noise);
        }
    }

    #[test]
    fn the_most_input_is_the_most_that_fits() {
        for bytes in (0..200).chain(65_500..65_700).chain([131_113, 1_024_000]) {
            let input = max_input(bytes);
            assert!(input == 0 || worst_case(input) <= bytes, "{bytes}");
            if bytes >= worst_case(1) {
                assert!(worst_case(input + 1) > bytes, "{bytes}");
            }
        }
    }
}
