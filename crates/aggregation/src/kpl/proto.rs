//! The part of protocol buffers that the format needs.

use super::Malformed;

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

/// A decoded field.
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

pub(super) const fn varint_size(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros();
    if bits == 0 {
        1
    } else {
        bits.div_ceil(7) as usize
    }
}

/// The size of a number field.
pub(super) const fn number_size(number: usize) -> usize {
    1 + varint_size(number)
}

/// The size of a field with this many bytes.
pub(super) const fn bytes_size(length: usize) -> usize {
    1 + varint_size(length) + length
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub(super) fn number(out: &mut Vec<u8>, field: u8, number: usize) {
    out.push(field << 3 | VARINT);
    varint(out, number);
}

/// Writes the header of a field with this many bytes. The bytes must follow.
pub(super) fn head(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(field << 3 | DELIMITED);
    varint(out, length);
}

pub(super) fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Calls `each` with the number and content of each field of a message.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let field = match (tag & 7) as u8 {
            VARINT => Field::Number(take_varint(&mut message)?),
            DELIMITED => {
                let length = take_varint(&mut message)?;
                Field::Bytes(take(&mut message, length)?)
            }
            FIXED_64 => take(&mut message, 8).map(|_| Field::Other)?,
            FIXED_32 => take(&mut message, 4).map(|_| Field::Other)?,
            _ => return Err(Malformed("a field has an unknown type")),
        };
        each(tag >> 3, field)?;
    }
    Ok(())
}

fn take<'a>(message: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    const SHORT: Malformed = Malformed("it ends within a field");
    let length = usize::try_from(length).map_err(|_| SHORT)?;
    message.split_off(..length).ok_or(SHORT)
}

fn take_varint(message: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed("a number is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_bytes_that_were_computed() {
        for number in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            usize::MAX,
        ] {
            let mut out = Vec::new();
            varint(&mut out, number);
            assert_eq!(out.len(), varint_size(number), "{number}");
            assert_eq!(take_varint(&mut out.as_slice()).unwrap(), number as u64);
        }
        assert!(take_varint(&mut &[0xff; 11][..]).is_err());
    }
}
