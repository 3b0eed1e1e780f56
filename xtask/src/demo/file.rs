//! The file whose lines are recorded.

use std::path::Path;

use amplify_kinesis::limits::MAX_RECORD_BYTES;
use anyhow::{Context, Result, bail};
use bytes::Bytes;

/// The stream that the lines are recorded for.
pub(crate) const STREAM: &str = "demo";

/// A line as it arrived.
pub(crate) struct Arrived {
    pub(crate) key: String,
    pub(crate) data: Bytes,
}

/// The lines of a file, without line ends. They may hold any bytes.
pub(crate) struct Lines {
    /// All bytes, line ends included.
    pub(crate) content: Bytes,
    /// They share the memory of the content.
    pub(crate) lines: Vec<Bytes>,
}

impl Lines {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let content = std::fs::read(path).with_context(|| path.display().to_string())?;
        let lines = Self::of(content);
        lines.check(&path.display().to_string())?;
        Ok(lines)
    }

    /// Rejects lines that cannot be records, naming file and line.
    fn check(&self, path: &str) -> Result<()> {
        for (at, line) in self.lines.iter().enumerate() {
            let bytes = (line.len() + key_of(at).len()) as u64;
            if bytes > MAX_RECORD_BYTES {
                bail!(
                    "{path}:{}: the line has {bytes} bytes with its key; a Kinesis record has \
                     at most {MAX_RECORD_BYTES}",
                    at + 1
                );
            }
        }
        Ok(())
    }

    pub(crate) fn of(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let ended = content.split_inclusive(|&byte| byte == b'\n');
        let lines = ended.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
        let lines = lines.map(|line| content.slice_ref(line)).collect();
        Self { content, lines }
    }

    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// A cache limit that fits all lines twice.
    pub(crate) fn cache_bytes(&self) -> u64 {
        const KEY_BYTES: u64 = 32;
        let lines = self.lines.len() as u64;
        (2 * (self.content.len() as u64 + lines * KEY_BYTES)).max(5 * 1024 * 1024)
    }
}

/// The partition key that identifies a line.
pub(crate) fn key_of(line: usize) -> String {
    format!("line-{line}")
}

/// The line that a partition key identifies.
pub(crate) fn line_of(key: &str) -> Option<usize> {
    key.strip_prefix("line-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_whether_or_not_the_last_one_ends() {
        assert_eq!(Lines::of("a\n\nb").lines, ["a", "", "b"]);
        assert_eq!(Lines::of("a\n\nb\n").lines, ["a", "", "b"]);
        assert!(Lines::of("").lines.is_empty());
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let most = usize::try_from(MAX_RECORD_BYTES).unwrap() - "line-1".len();
        let content = |bytes| format!("a\n{}\nb", "x".repeat(bytes));
        assert!(Lines::of(content(most)).check("file").is_ok());
        let error = Lines::of(content(most + 1)).check("file").unwrap_err();
        assert!(error.to_string().starts_with("file:2: "), "{error}");
    }

    #[test]
    fn a_key_leads_back_to_its_line() {
        assert_eq!(line_of(&key_of(12_345)), Some(12_345));
        assert_eq!(line_of("other"), None);
    }
}
