//! Payloads joined by a delimiter.

use std::borrow::Cow;

use crate::Event;

/// How payloads are joined. The delimiter follows each payload, including the last, unless the
/// payload already ends with it. Joined records can therefore be joined again, as Firehose does.
///
/// A reader splits at the delimiter, so payloads should not contain it.
///
/// ```
/// use aggregation::Concatenation;
///
/// let lines = Concatenation::default().max_events(100).max_bytes(256 * 1024);
/// assert_eq!(lines.join(&[b"one", b"two"]), b"one\ntwo\n");
/// assert_eq!(&*lines.single(b"one\n"), b"one\n");
///
/// // Between payloads that contain newlines.
/// let separated = Concatenation::default().delimiter(&b"\x1e"[..]);
/// assert_eq!(separated.joined_size(b"one"), 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Concatenation {
    /// The bytes after each payload. Default: a newline.
    pub delimiter: Cow<'static, [u8]>,
    /// The size limit of a record as sent. Default: 1,000 KiB.
    pub max_bytes: usize,
    /// The limit on events per record. Default: 500.
    pub max_events: usize,
    /// How records are compressed. Default: not at all.
    pub compression: Compression,
}

/// How a record is compressed.
///
/// ```
/// use aggregation::{Compression, Concatenation};
///
/// let plain = Concatenation::default().max_bytes(100_000).compression(Compression::None);
/// assert_eq!(plain.max_joined_bytes(), 100_000);
/// # #[cfg(feature = "gzip")]
/// # {
/// // Of input that does not compress, a little less fits into a record.
/// let gzip = plain.compression(Compression::Gzip);
/// assert!(gzip.max_joined_bytes() < gzip.max_bytes);
/// assert!(gzip.joined_bytes_within(50_000) < 50_000);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// As one gzip member. Concatenated members are valid gzip.
    #[cfg(feature = "gzip")]
    Gzip,
}

impl Default for Concatenation {
    fn default() -> Self {
        Self {
            delimiter: Cow::Borrowed(b"\n"),
            max_bytes: 1_024_000,
            max_events: 500,
            compression: Compression::None,
        }
    }
}

impl Concatenation {
    /// Sets the delimiter that follows each payload.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<Cow<'static, [u8]>>) -> Self {
        self.delimiter = delimiter.into();
        self
    }

    /// Sets the size limit of a record.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the limit on events per record.
    #[must_use]
    pub const fn max_events(mut self, max_events: usize) -> Self {
        self.max_events = max_events;
        self
    }

    /// Sets how records are compressed.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How many bytes of payloads and delimiters fit into a record, however badly they compress.
    #[must_use]
    pub const fn max_joined_bytes(&self) -> usize {
        self.joined_bytes_within(self.max_bytes)
    }

    /// The same for a record of `max_bytes`.
    #[must_use]
    pub const fn joined_bytes_within(&self, max_bytes: usize) -> usize {
        match self.compression {
            Compression::None => max_bytes,
            #[cfg(feature = "gzip")]
            Compression::Gzip => crate::gzip::max_input(max_bytes),
        }
    }

    /// The space a payload takes in a record: its own size, plus the delimiter if missing.
    #[must_use]
    pub fn joined_size(&self, payload: &[u8]) -> usize {
        payload.len() + self.delimiter_of(payload).len()
    }

    /// A record of one payload. Borrows the payload if it ends with the delimiter and is not
    /// compressed.
    #[must_use]
    pub fn single<'a>(&self, payload: &'a [u8]) -> Cow<'a, [u8]> {
        let is_whole =
            self.compression == Compression::None && self.delimiter_of(payload).is_empty();
        if is_whole {
            Cow::Borrowed(payload)
        } else {
            Cow::Owned(self.join(&[payload]))
        }
    }

    /// A record of several payloads.
    #[must_use]
    pub fn join(&self, payloads: &[&[u8]]) -> Vec<u8> {
        let size = payloads.iter().map(|payload| self.joined_size(payload));
        let mut joined = Vec::with_capacity(size.sum());
        for payload in payloads {
            joined.extend_from_slice(payload);
            joined.extend_from_slice(self.delimiter_of(payload));
        }
        match self.compression {
            Compression::None => joined,
            #[cfg(feature = "gzip")]
            Compression::Gzip => crate::gzip::compress(&joined),
        }
    }

    fn delimiter_of(&self, payload: &[u8]) -> &[u8] {
        if payload.ends_with(&self.delimiter) {
            &[]
        } else {
            &self.delimiter
        }
    }
}

/// Payloads collected for one record.
#[derive(Debug)]
pub(crate) struct Joiner<'a, 'c> {
    concatenation: &'c Concatenation,
    payloads: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a, 'c> Joiner<'a, 'c> {
    pub(crate) const fn new(concatenation: &'c Concatenation) -> Self {
        Self {
            concatenation,
            payloads: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, event: Event<'a>) -> bool {
        let bytes = self.bytes + self.concatenation.joined_size(event.data);
        let fits = self.payloads.len() < self.concatenation.max_events
            && bytes <= self.concatenation.max_joined_bytes();
        if fits {
            self.bytes = bytes;
            self.payloads.push(event.data);
        }
        fits
    }

    pub(crate) fn finish(&self) -> Cow<'a, [u8]> {
        match self.payloads[..] {
            [payload] => self.concatenation.single(payload),
            _ => Cow::Owned(self.concatenation.join(&self.payloads)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payload_ends_with_the_delimiter_once() {
        let lines = Concatenation::default();
        assert_eq!(lines.join(&[b"a", b"b\n", b"", b"c"]), b"a\nb\n\nc\n");
        assert_eq!(lines.single(b"a").into_owned(), b"a\n");
        assert!(matches!(lines.single(b"a\n"), Cow::Borrowed(b"a\n")));
        let none = Concatenation::default().delimiter(&b""[..]);
        assert_eq!(none.join(&[b"a", b"b"]), b"ab");
        let long = Concatenation::default().delimiter(&b"\r\n"[..]);
        assert_eq!(long.join(&[b"a\n", b"b\r\n"]), b"a\n\r\nb\r\n");
    }
}
