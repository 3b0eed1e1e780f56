//! Reads CBOR (RFC 8949) with definite and indefinite lengths and values of any type.

use std::borrow::Cow;

use super::source::{MAX_DEPTH, Source, Unreadable};

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;

const SHORT: Unreadable = Unreadable("it ends too early");
const UNEXPECTED: Unreadable = Unreadable("a value has the wrong type");
const MALFORMED: Unreadable = Unreadable("it is not CBOR");

/// Reads values from these bytes.
#[derive(Debug, Clone)]
pub(super) struct CborReader<'a> {
    rest: &'a [u8],
}

/// The head of a value: its type and its number or length, `None` if indefinite.
struct Head {
    major: u8,
    argument: Option<u64>,
}

impl<'a> CborReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn peek(&self) -> Result<u8, Unreadable> {
        self.rest.first().copied().ok_or(SHORT)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(length).map_err(|_| SHORT)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, Unreadable> {
        let first = self.peek()?;
        self.rest = &self.rest[1..];
        let (major, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..24 => Some(u64::from(info)),
            24..28 => {
                let number = self.take(1 << (info - 24))?;
                let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
                Some(number.iter().fold(0, fold))
            }
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP) => None,
            _ => return Err(MALFORMED),
        };
        Ok(Head { major, argument })
    }

    /// The head of a value, after its tags.
    fn value_head(&mut self) -> Result<Head, Unreadable> {
        loop {
            let head = self.head()?;
            if head.major != TAG {
                return Ok(head);
            }
        }
    }

    fn head_of(&mut self, major: u8) -> Result<Option<u64>, Unreadable> {
        let head = self.value_head()?;
        if head.major == major {
            Ok(head.argument)
        } else {
            Err(UNEXPECTED)
        }
    }

    /// Calls `item` for each item of a container. `item` must consume at least one byte.
    fn items(
        &mut self,
        length: Option<u64>,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        match length {
            Some(length) => {
                for _ in 0..length {
                    item(self)?;
                }
            }
            None => {
                while self.peek()? != BREAK {
                    item(self)?;
                }
                self.rest = &self.rest[1..];
            }
        }
        Ok(())
    }

    fn string(&mut self, length: Option<u64>) -> Result<Cow<'a, str>, Unreadable> {
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| MALFORMED);
        if let Some(length) = length {
            return self.take(length).and_then(utf8).map(Cow::Borrowed);
        }
        let mut whole = String::new();
        self.items(None, |reader| {
            let Head { major, argument } = reader.head()?;
            let length = argument.filter(|_| major == TEXT).ok_or(MALFORMED)?;
            whole.push_str(reader.take(length).and_then(utf8)?);
            Ok(())
        })?;
        Ok(Cow::Owned(whole))
    }

    fn skip_value(&mut self, depth: usize) -> Result<bool, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable("it is nested too deeply"));
        }
        let before = self.rest;
        let Head { major, argument } = self.value_head()?;
        match (major, argument) {
            (BYTES | TEXT, Some(length)) => _ = self.take(length)?,
            (BYTES | TEXT, None) => self.items(None, |reader| {
                let chunk = reader.head()?;
                let length = chunk.argument.filter(|_| chunk.major == major);
                reader.take(length.ok_or(MALFORMED)?)?;
                Ok(())
            })?,
            (ARRAY, length) => self.items(length, |reader| {
                reader.skip_value(depth + 1)?;
                Ok(())
            })?,
            (MAP, length) => self.items(length, |reader| {
                reader.skip_value(depth + 1)?;
                reader.skip_value(depth + 1)?;
                Ok(())
            })?,
            (SIMPLE, _) => {
                let first = before.len() - self.rest.len();
                // Only an untagged null counts as null; nobody tags one.
                return Ok(!(first == 1 && matches!(before[0], NULL | UNDEFINED)));
            }
            _ => {}
        }
        Ok(true)
    }
}

impl<'a> Source<'a> for CborReader<'a> {
    fn map(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let length = self.head_of(MAP)?;
        self.items(length, |reader| {
            if reader.is_text() {
                let length = reader.head_of(TEXT)?;
                let name = reader.string(length)?;
                return member(&name, reader);
            }
            reader.skip()?;
            reader.skip()?;
            Ok(())
        })
    }

    fn list(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let length = self.head_of(ARRAY)?;
        self.items(length, item)
    }

    fn is_text(&mut self) -> bool {
        self.peek().is_ok_and(|first| first >> 5 == TEXT)
    }

    fn text(&mut self) -> Result<Option<Cow<'a, str>>, Unreadable> {
        if matches!(self.peek()?, NULL | UNDEFINED) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        let length = self.head_of(TEXT)?;
        self.string(length).map(Some)
    }

    fn skip(&mut self) -> Result<bool, Unreadable> {
        self.skip_value(0)
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MALFORMED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<Option<String>, Unreadable> {
        let mut reader = CborReader::new(bytes);
        let text = reader.text()?.map(Cow::into_owned);
        reader.end()?;
        Ok(text)
    }

    fn skipped(bytes: &[u8]) -> Result<bool, Unreadable> {
        let mut reader = CborReader::new(bytes);
        let is_something = reader.skip()?;
        reader.end()?;
        Ok(is_something)
    }

    #[test]
    fn text_is_read_in_one_piece_or_in_chunks() {
        for bytes in [
            &b"\x62ok"[..],
            b"\x78\x02ok",
            b"\x7b\0\0\0\0\0\0\0\x02ok",
            b"\x7f\x61o\x60\x61k\xff",
            b"\xc0\xc1\x62ok",
        ] {
            assert_eq!(text(bytes), Ok(Some("ok".to_owned())), "{bytes:x?}");
        }
        assert_eq!(text(b"\xf6"), Ok(None));
        assert_eq!(text(b"\xf7"), Ok(None));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bytes in [
            &b""[..],
            b"\x62o",
            b"\x61\xff",
            b"\x42ok",
            b"\x7f\x41o\xff",
            b"\x7f\x7f\x61o\xff\xff",
            b"\x7f\x61o",
            b"\x7c",
            b"\x62ok!",
            b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff",
            b"\x01",
        ] {
            assert!(text(bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn every_kind_of_value_is_passed_over() {
        for bytes in [
            &b"\x00"[..],
            b"\x18\xff",
            b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x43abc",
            b"\x5f\x41a\x42bc\xff",
            b"\x7f\xff",
            b"\x82\x01\x81\x02",
            b"\x9f\x01\x9f\xff\xff",
            b"\xa1\x01\xa1\x61a\xf6",
            b"\xbf\x61a\x01\xff",
            b"\xc1\x1a\x00\x00\x00\x00",
            b"\xf4",
            b"\xf8\xff",
            b"\xf9\x3c\x00",
            b"\xfb\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(skipped(bytes), Ok(true), "{bytes:x?}");
        }
        assert_eq!(skipped(b"\xf6"), Ok(false));
    }

    #[test]
    fn a_claimed_length_costs_nothing_and_depth_is_bounded() {
        for bytes in [
            &b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..],
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xbf\x01\xff",
            b"\x1f",
            b"\xdf",
            b"\xfc",
        ] {
            assert!(skipped(bytes).is_err(), "{bytes:x?}");
        }
        let mut shallow = vec![0x81; MAX_DEPTH];
        shallow.push(0x01);
        assert_eq!(skipped(&shallow), Ok(true));
        for deep in [
            vec![0x81; 1_000_000],
            vec![0x9f; 1_000_000],
            vec![0xc1; 1_000_000],
        ] {
            assert!(skipped(&deep).is_err());
        }
    }

    #[test]
    fn members_whose_names_are_no_text_are_passed_over() {
        let mut names = Vec::new();
        let mut reader = CborReader::new(b"\xa3\x01\x81\x02\x61a\x03\x41b\x04");
        reader
            .map(|name, reader| {
                names.push(name.to_owned());
                reader.skip().map(drop)
            })
            .unwrap();
        assert_eq!(names, ["a"]);
        assert_eq!(reader.end(), Ok(()));
    }
}
