//! Checks new records against the limits of the service.

use std::fmt;

use bytes::Bytes;
use record_cache::{NewRecord, StreamName};

use crate::aws::{ClientError, Grouping, IntoPayload, Service, arn};

/// A record that has not been checked yet.
///
/// ```
/// use flush_engine::aws::UncheckedRecord;
///
/// let key = || Some("customer-7".to_owned());
/// let named = UncheckedRecord::new("an order", key(), "orders");
/// // For a handle, which knows the stream.
/// let record = UncheckedRecord::for_handle("an order", key()).explicit_hash_key(0);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UncheckedRecord {
    /// `None` for the stream of the recording handle.
    pub(crate) stream_name: Option<String>,
    pub(crate) partition_key: Option<String>,
    pub(crate) explicit_hash_key: Option<u128>,
    pub(crate) data: Bytes,
}

impl UncheckedRecord {
    /// A record for a stream.
    pub fn new(
        data: impl IntoPayload,
        partition_key: Option<String>,
        stream_name: impl Into<String>,
    ) -> Self {
        Self {
            stream_name: Some(stream_name.into()),
            ..Self::for_handle(data, partition_key)
        }
    }

    /// A record for the stream of the recording handle.
    pub fn for_handle(data: impl IntoPayload, partition_key: Option<String>) -> Self {
        Self {
            stream_name: None,
            partition_key,
            explicit_hash_key: None,
            data: data.into_payload(),
        }
    }

    /// Sets an explicit hash key, which selects the shard instead of the partition key.
    #[must_use]
    pub fn explicit_hash_key(mut self, hash_key: u128) -> Self {
        self.explicit_hash_key = Some(hash_key);
        self
    }
}

impl fmt::Debug for UncheckedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UncheckedRecord")
            .field("stream_name", &self.stream_name)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Checks the name or ARN of a stream against the rules of a service.
pub(crate) fn checked_stream<S: Service>(
    given: String,
    region: &str,
) -> Result<StreamName, ClientError> {
    let suggestion = || match S::ARN_SERVICE {
        Some(_) => format!("pass the name of the {}, or its whole ARN", S::STREAM),
        None => format!("pass the name of the {}, not its ARN", S::STREAM),
    };
    let name = match S::ARN_SERVICE {
        Some(service) if arn::is_arn(&given) => arn::stream_name(&given, service, region)
            .map_err(|problem| ClientError::validation(problem, suggestion()))?,
        None if arn::is_arn(&given) => {
            let problem = format!("{} takes a name, not an ARN", S::OPERATION);
            return Err(ClientError::validation(problem, suggestion()));
        }
        _ => &given,
    };
    let most = S::LIMITS.stream_name_chars;
    let is_valid = (1..=most).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let stream = is_valid.then(|| StreamName::new(given).ok()).flatten();
    stream.ok_or_else(|| {
        ClientError::validation(
            format!("the stream name must have 1 to {most} characters of A-Z a-z 0-9 _ . -"),
            suggestion(),
        )
    })
}

/// The limits on records that a client's options set.
pub(crate) struct RecordRules {
    /// Maximum bytes of data and partition key.
    pub(crate) max_bytes: u64,
    /// How events share records, if they do.
    pub(crate) grouping: Option<Grouping>,
}

/// Checks a record against the limits of a service and of the client. The caller checks the name
/// of the stream.
pub(crate) fn checked_record<S: Service>(
    stream: StreamName,
    record: UncheckedRecord,
    rules: &RecordRules,
) -> Result<NewRecord, ClientError> {
    let UncheckedRecord {
        stream_name: _,
        partition_key: key,
        explicit_hash_key,
        data,
    } = record;
    if let Some(most) = S::LIMITS.partition_key_chars {
        let chars = key.as_deref().unwrap_or_default().chars().count();
        if chars == 0 || chars > most {
            return Err(ClientError::validation(
                format!("the partition key has {chars} characters; it must have 1 to {most}"),
                format!("use a partition key of 1 to {most} characters"),
            ));
        }
    }
    let what = if key.is_some() {
        "data and partition key"
    } else {
        "data"
    };
    let max_bytes = rules.max_bytes;
    let record = NewRecord::new(stream, key, data).with_explicit_hash_key(explicit_hash_key);
    let key_bytes = record.size() - record.data.len() as u64;
    let size = rules.grouping.as_ref().map_or(record.size(), |grouping| {
        let room = max_bytes.saturating_sub(key_bytes);
        record
            .size()
            .max(key_bytes + grouping.alone(&record.data, room))
    });
    if size > max_bytes {
        let beside = match size == record.size() {
            true => "",
            false => ", its delimiter and compression included",
        };
        return Err(ClientError::validation(
            format!("the record has {size} bytes of {what}{beside}; the limit is {max_bytes}"),
            "split the data, compress it, or store it elsewhere and record where it is",
        ));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::test_service::{Keyed, Plain};

    fn check<S: Service>(data: usize, key: Option<&str>) -> Result<NewRecord, ClientError> {
        let stream = checked_stream::<S>("stream".to_owned(), "eu-west-1")?;
        let record = UncheckedRecord::for_handle(vec![0; data], key.map(str::to_owned));
        let record = record.explicit_hash_key(u128::MAX);
        let rules = RecordRules {
            max_bytes: S::LIMITS.record_bytes,
            grouping: None,
        };
        checked_record::<S>(stream, record, &rules)
    }

    #[test]
    fn a_delimiter_appended_to_the_data_counts_in_the_size() {
        let rules = RecordRules {
            max_bytes: 100,
            grouping: Some(Grouping::delimit(&b"\r\n"[..])),
        };
        let check = |data: Vec<u8>, key: &str| {
            let stream = checked_stream::<Keyed>("stream".to_owned(), "eu-west-1").unwrap();
            let record = UncheckedRecord::for_handle(data, Some(key.to_owned()));
            checked_record::<Keyed>(stream, record, &rules)
        };
        assert!(check(vec![7; 97], "k").is_ok());
        let error = check(vec![7; 98], "k").unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("101 bytes of data and partition key, its delimiter"));
        assert!(check([&[7; 97][..], b"\r\n"].concat(), "k").is_ok());
    }

    #[test]
    fn a_record_may_be_as_large_as_the_limit_and_no_larger() {
        assert!(check::<Plain>(100, None).is_ok());
        assert!(check::<Plain>(101, None).is_err());
        assert!(check::<Plain>(0, None).is_ok());
    }

    #[test]
    fn the_partition_key_counts_in_the_size() {
        assert!(check::<Keyed>(99, Some("k")).is_ok());
        assert!(check::<Keyed>(100, Some("k")).is_err());
        assert!(check::<Keyed>(99, Some("é")).is_err());
        assert!(check::<Keyed>(0, Some("k")).is_ok());
    }

    #[test]
    fn the_partition_key_is_measured_in_characters() {
        assert!(check::<Keyed>(1, Some(&"é".repeat(10))).is_ok());
        assert!(check::<Keyed>(1, Some(&"🦀".repeat(10))).is_ok());
        assert!(check::<Keyed>(1, Some(&"k".repeat(11))).is_err());
        assert!(check::<Keyed>(1, Some("")).is_err());
    }

    #[test]
    fn stream_names_are_those_of_the_service() {
        let check = |name: &str| checked_stream::<Plain>(name.to_owned(), "eu-west-1");
        for good in ["s", "a.b_c-D9", &"n".repeat(20)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "straße", "arn:aws:x", &"n".repeat(21)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_arn_is_taken_where_the_service_takes_one() {
        let arn = |name: &str| format!("arn:aws:test:eu-west-1:123456789012:stream/{name}");
        let stream = checked_stream::<Keyed>(arn("s"), "eu-west-1").unwrap();
        assert_eq!(stream.as_str(), arn("s"));
        for bad in [arn(""), arn("a b"), arn("a/b"), arn(&"n".repeat(21))] {
            assert!(checked_stream::<Keyed>(bad, "eu-west-1").is_err());
        }
        assert!(checked_stream::<Keyed>(arn("s"), "eu-west-2").is_err());
        let refused = checked_stream::<Plain>(arn("s"), "eu-west-1").unwrap_err();
        assert!(format!("{refused:?}").contains("ARN"), "{refused:?}");
    }

    #[test]
    fn debug_shows_neither_data_nor_key() {
        let record = UncheckedRecord::new("payload", Some("secret-key".to_owned()), "stream");
        let shown = format!("{record:?}");
        assert!(shown.contains("stream") && shown.contains('7'), "{shown}");
        assert!(
            !shown.contains("payload") && !shown.contains("secret-key"),
            "{shown}"
        );
    }
}
