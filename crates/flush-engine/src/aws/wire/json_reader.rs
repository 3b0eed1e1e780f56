//! Reads JSON (RFC 8259), as far as responses need it.

use std::borrow::Cow;

use super::source::{MAX_DEPTH, Source, Unreadable};

const MALFORMED: Unreadable = Unreadable("it is not JSON");
const UNEXPECTED: Unreadable = Unreadable("a value has the wrong type");

/// Reads values from these bytes.
#[derive(Debug, Clone)]
pub(super) struct JsonReader<'a> {
    rest: &'a [u8],
}

impl<'a> JsonReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first byte of the next token.
    fn peek(&mut self) -> Result<u8, Unreadable> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied().ok_or(MALFORMED)
    }

    fn take_if(&mut self, byte: u8) -> Result<bool, Unreadable> {
        let is_next = self.peek()? == byte;
        if is_next {
            self.rest = &self.rest[1..];
        }
        Ok(is_next)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.take_if(byte)? {
            Ok(())
        } else {
            Err(MALFORMED)
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Unreadable> {
        self.rest = self.rest.strip_prefix(literal).ok_or(MALFORMED)?;
        Ok(())
    }

    /// Calls `item` for each item of a container, up to its end.
    fn items(
        &mut self,
        end: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        if self.take_if(end)? {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take_if(end)? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        self.expect(b'"')?;
        let (plain, mut special) = self.plain()?;
        if special == b'"' {
            return Ok(Cow::Borrowed(plain));
        }
        let mut whole = plain.to_owned();
        loop {
            match special {
                b'"' => return Ok(Cow::Owned(whole)),
                b'\\' => whole.push(self.escape()?),
                _ => return Err(MALFORMED),
            }
            let (plain, next) = self.plain()?;
            whole.push_str(plain);
            special = next;
        }
    }

    /// The text up to the next quote, backslash or control character, and that character.
    fn plain(&mut self) -> Result<(&'a str, u8), Unreadable> {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let length = self.rest.iter().position(is_special).ok_or(MALFORMED)?;
        let (plain, rest) = self.rest.split_at(length);
        self.rest = &rest[1..];
        let plain = std::str::from_utf8(plain).map_err(|_| MALFORMED)?;
        Ok((plain, rest[0]))
    }

    /// Reads the escape after a backslash.
    fn escape(&mut self) -> Result<char, Unreadable> {
        let (&kind, rest) = self.rest.split_first().ok_or(MALFORMED)?;
        self.rest = rest;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                // The second half of a surrogate pair directly follows the first; lone halves are
                // replaced.
                let pair = (0xd800..0xdc00).contains(&unit) && self.rest.starts_with(b"\\u");
                if pair {
                    let before = self.rest;
                    self.rest = &self.rest[2..];
                    let second = self.unit()?;
                    if let Some(Ok(both)) = char::decode_utf16([unit, second]).next() {
                        return Ok(both);
                    }
                    self.rest = before;
                }
                char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(MALFORMED),
        })
    }

    fn unit(&mut self) -> Result<u16, Unreadable> {
        let (digits, rest) = self.rest.split_at_checked(4).ok_or(MALFORMED)?;
        self.rest = rest;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(MALFORMED)?;
            Ok(unit << 4 | u16::try_from(digit).map_err(|_| MALFORMED)?)
        })
    }

    fn skip_value(&mut self, depth: usize) -> Result<bool, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable("it is nested too deeply"));
        }
        match self.peek()? {
            b'{' => {
                self.expect(b'{')?;
                self.items(b'}', |reader| {
                    reader.string()?;
                    reader.expect(b':')?;
                    reader.skip_value(depth + 1).map(drop)
                })?;
            }
            b'[' => {
                self.expect(b'[')?;
                self.items(b']', |reader| reader.skip_value(depth + 1).map(drop))?;
            }
            b'"' => _ = self.string()?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => {
                self.literal(b"null")?;
                return Ok(false);
            }
            b'-' | b'0'..=b'9' => {
                let is_of_number =
                    |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = self.rest.iter().take_while(|byte| is_of_number(byte));
                self.rest = &self.rest[length.count()..];
            }
            _ => return Err(MALFORMED),
        }
        Ok(true)
    }
}

impl<'a> Source<'a> for JsonReader<'a> {
    fn map(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.expect(b'{').map_err(|_| UNEXPECTED)?;
        self.items(b'}', |reader| {
            let name = reader.string()?;
            reader.expect(b':')?;
            member(&name, reader)
        })
    }

    fn list(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.expect(b'[').map_err(|_| UNEXPECTED)?;
        self.items(b']', item)
    }

    fn is_text(&mut self) -> bool {
        self.peek() == Ok(b'"')
    }

    fn text(&mut self) -> Result<Option<Cow<'a, str>>, Unreadable> {
        match self.peek()? {
            b'n' => self.literal(b"null").map(|()| None),
            b'"' => self.string().map(Some),
            _ => Err(UNEXPECTED),
        }
    }

    fn skip(&mut self) -> Result<bool, Unreadable> {
        self.skip_value(0)
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        if self.rest.trim_ascii_start().is_empty() {
            Ok(())
        } else {
            Err(MALFORMED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<Option<String>, Unreadable> {
        let mut reader = JsonReader::new(json.as_bytes());
        let text = reader.text()?.map(Cow::into_owned);
        reader.end()?;
        Ok(text)
    }

    fn skipped(json: &str) -> Result<bool, Unreadable> {
        let mut reader = JsonReader::new(json.as_bytes());
        let is_something = reader.skip()?;
        reader.end()?;
        Ok(is_something)
    }

    #[test]
    fn text_is_read_with_its_escapes() {
        for (json, read) in [
            (r#""""#, ""),
            (r#" "plain é" "#, "plain é"),
            (r#""a\"b\\c\/d""#, "a\"b\\c/d"),
            (r#""\b\f\n\r\t""#, "\u{8}\u{c}\n\r\t"),
            (r#""\u0041\u00e9\ud83d\ude00""#, "Aé😀"),
            (r#""\ud83d-\ude00""#, "\u{fffd}-\u{fffd}"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\\""#, "\\"),
        ] {
            assert_eq!(text(json), Ok(Some(read.to_owned())), "{json}");
            let by_serde: Result<String, _> = serde_json::from_str(json);
            assert!(by_serde.is_err() || by_serde.unwrap() == read, "{json}");
        }
        assert_eq!(text(" null"), Ok(None));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for json in [
            "",
            "\"",
            "\"a",
            r#""\"#,
            r#""\x""#,
            r#""\u12"#,
            r#""\u12g4""#,
            "\"\n\"",
            "1",
            "nul",
            r#""a"b"#,
            "{}",
        ] {
            assert!(text(json).is_err(), "{json}");
        }
    }

    #[test]
    fn every_kind_of_value_is_passed_over() {
        for json in [
            "true",
            "false",
            "0",
            "-1.5e+9",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "\"\"",
            r#"[1, [2, {"a": [true, null]}], "]"]"#,
            r#" { "a" : { "b" : [ ] } , "c" : "}" } "#,
        ] {
            assert_eq!(skipped(json), Ok(true), "{json}");
        }
        assert_eq!(skipped("null"), Ok(false));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for json in [
            "",
            "tru",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "{a:1}",
            "<html>",
            "[] []",
            "]",
        ] {
            assert!(skipped(json).is_err(), "{json}");
        }
        assert!(skipped(&"[".repeat(1_000_000)).is_err());
        assert!(skipped(&r#"{"a":"#.repeat(1_000_000)).is_err());
        let depth = MAX_DEPTH;
        assert!(skipped(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).is_ok());
    }
}
