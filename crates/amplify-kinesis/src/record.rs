//! A record on its way in.

use std::fmt;

use bytes::Bytes;
use record_cache::{NewRecord, StreamName};

use crate::AmplifyKinesisError;
use crate::limits::{MAX_PARTITION_KEY_CHARS, MAX_STREAM_NAME_CHARS};

/// A record for [`record_all`](crate::AmplifyKinesisClient::record_all).
#[derive(Clone, PartialEq, Eq)]
pub struct KinesisRecord {
    data: Bytes,
    partition_key: String,
    stream_name: String,
}

impl KinesisRecord {
    /// A record for a stream. It is checked when it is recorded.
    #[must_use]
    pub fn new(
        data: impl Into<Bytes>,
        partition_key: impl Into<String>,
        stream_name: impl Into<String>,
    ) -> Self {
        Self {
            data: data.into(),
            partition_key: partition_key.into(),
            stream_name: stream_name.into(),
        }
    }

    /// Checks the record against the limits of the service and of the client.
    pub(crate) fn checked(self, max_bytes: u64) -> Result<NewRecord, AmplifyKinesisError> {
        let stream = stream_name(self.stream_name)?;
        let key_chars = self.partition_key.chars().count();
        if key_chars == 0 || key_chars > MAX_PARTITION_KEY_CHARS {
            return Err(AmplifyKinesisError::validation(
                format!(
                    "the partition key has {key_chars} characters, it must have 1 to \
                     {MAX_PARTITION_KEY_CHARS}"
                ),
                "use a shorter partition key that is not empty",
            ));
        }
        let record = NewRecord::new(stream, Some(self.partition_key), self.data);
        if record.size() > max_bytes {
            return Err(AmplifyKinesisError::validation(
                format!(
                    "the record has {} bytes of data and partition key, it may have {max_bytes}",
                    record.size()
                ),
                "split the data, compress it, or store it elsewhere and record where it is",
            ));
        }
        Ok(record)
    }
}

impl fmt::Debug for KinesisRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisRecord")
            .field("stream_name", &self.stream_name)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

fn stream_name(name: String) -> Result<StreamName, AmplifyKinesisError> {
    let is_valid = (1..=MAX_STREAM_NAME_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let name = if is_valid {
        StreamName::new(name).ok()
    } else {
        None
    };
    name.ok_or_else(|| {
        AmplifyKinesisError::validation(
            format!(
                "the stream name is not valid: 1 to {MAX_STREAM_NAME_CHARS} characters of \
                 A-Z a-z 0-9 _ . - make one"
            ),
            "pass the name of the stream, not its ARN",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_RECORD_BYTES;

    fn check(data: usize, key: &str, stream: &str) -> Result<NewRecord, AmplifyKinesisError> {
        KinesisRecord::new(vec![0; data], key, stream).checked(MAX_RECORD_BYTES)
    }

    #[test]
    fn the_partition_key_counts_in_the_size() {
        let most = usize::try_from(MAX_RECORD_BYTES).unwrap();
        assert!(check(most - 1, "k", "s").is_ok());
        assert!(check(most, "k", "s").is_err());
        assert!(check(most - 1, "é", "s").is_err());
        assert!(check(0, "k", "s").is_ok());
    }

    #[test]
    fn the_partition_key_is_measured_in_characters() {
        assert!(check(1, &"é".repeat(256), "s").is_ok());
        assert!(check(1, &"🦀".repeat(256), "s").is_ok());
        assert!(check(1, &"k".repeat(257), "s").is_err());
        assert!(check(1, "", "s").is_err());
    }

    #[test]
    fn stream_names_are_those_of_the_service() {
        for good in ["s", "a.b_c-D9", &"n".repeat(128)] {
            assert!(check(1, "k", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "straße",
            "arn:aws:kinesis",
            &"n".repeat(129),
        ] {
            assert!(check(1, "k", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_neither_data_nor_key() {
        let shown = format!(
            "{:?}",
            KinesisRecord::new("payload", "secret-key", "stream")
        );
        assert!(shown.contains("stream") && shown.contains('7'), "{shown}");
        assert!(
            !shown.contains("payload") && !shown.contains("secret-key"),
            "{shown}"
        );
    }
}
