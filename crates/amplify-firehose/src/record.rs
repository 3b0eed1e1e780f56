//! A record on its way in.

use std::fmt;

use bytes::Bytes;
use record_cache::{NewRecord, StreamName};

use crate::AmplifyFirehoseError;
use crate::limits::MAX_STREAM_NAME_CHARS;

/// A record for [`record_all`](crate::AmplifyFirehoseClient::record_all).
#[derive(Clone, PartialEq, Eq)]
pub struct FirehoseRecord {
    data: Bytes,
    stream_name: String,
}

impl FirehoseRecord {
    /// A record for a delivery stream. It is checked when it is recorded.
    #[must_use]
    pub fn new(data: impl Into<Bytes>, stream_name: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            stream_name: stream_name.into(),
        }
    }

    /// Checks the record against the limits of the service and of the client.
    pub(crate) fn checked(self, max_bytes: u64) -> Result<NewRecord, AmplifyFirehoseError> {
        let record = NewRecord::new(stream_name(self.stream_name)?, None, self.data);
        if record.size() > max_bytes {
            return Err(AmplifyFirehoseError::validation(
                format!(
                    "the record has {} bytes of data, it may have {max_bytes}",
                    record.size()
                ),
                "split the data, compress it, or store it elsewhere and record where it is",
            ));
        }
        Ok(record)
    }
}

impl fmt::Debug for FirehoseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirehoseRecord")
            .field("stream_name", &self.stream_name)
            .field("bytes", &self.data.len())
            .finish()
    }
}

fn stream_name(name: String) -> Result<StreamName, AmplifyFirehoseError> {
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
        AmplifyFirehoseError::validation(
            format!(
                "the stream name is not valid: 1 to {MAX_STREAM_NAME_CHARS} characters of \
                 A-Z a-z 0-9 _ . - make one"
            ),
            "pass the name of the delivery stream, not its ARN",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_RECORD_BYTES;

    fn check(data: usize, stream: &str) -> Result<NewRecord, AmplifyFirehoseError> {
        FirehoseRecord::new(vec![0; data], stream).checked(MAX_RECORD_BYTES)
    }

    #[test]
    fn records_have_up_to_a_thousand_kib() {
        assert!(check(1_024_000, "s").is_ok());
        assert!(check(1_024_001, "s").is_err());
        assert!(check(0, "s").is_ok());
    }

    #[test]
    fn stream_names_are_those_of_the_service() {
        for good in ["s", "a.b_c-D9", &"n".repeat(64)] {
            assert!(check(1, good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "straße", &"n".repeat(65)] {
            assert!(check(1, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_data() {
        let shown = format!("{:?}", FirehoseRecord::new("payload", "stream"));
        assert!(
            shown.contains("stream") && !shown.contains("payload"),
            "{shown}"
        );
    }
}
