//! The contents of a request, before it has a format.

use std::fmt;

use record_cache::StreamName;

use crate::aws::arn;

/// One record to send.
///
/// ```
/// use flush_engine::aws::wire::Entry;
///
/// let entry = Entry::new(b"an order", Some("customer-7"));
/// // To the shard with this hash, whatever the key.
/// let entry = Entry { explicit_hash_key: Some(0), ..entry };
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The payload.
    pub data: &'a [u8],
    /// The partition key, for services that have one.
    pub partition_key: Option<&'a str>,
    /// The hash key that overrides the partition key's hash.
    pub explicit_hash_key: Option<u128>,
}

impl<'a> Entry<'a> {
    /// A record with this payload and partition key.
    #[must_use]
    pub const fn new(data: &'a [u8], partition_key: Option<&'a str>) -> Self {
        Self {
            data,
            partition_key,
            explicit_hash_key: None,
        }
    }
}

// Omits the payload and the keys.
impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The stream that a request is for.
///
/// ```
/// use flush_engine::aws::wire::Target;
/// use record_cache::StreamName;
///
/// let orders = StreamName::new("arn:aws:kinesis:us-east-1:123456789012:stream/orders")?;
/// let target = Target::of(&orders);
/// assert_eq!((target.name(), target.arn()), (None, Some(orders.as_str())));
/// assert_eq!(target.as_str(), orders.as_str());
/// # Ok::<(), record_cache::InvalidStreamName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A stream name.
    Name(&'a str),
    /// A stream ARN; `PutRecords` only.
    Arn(&'a str),
}

impl<'a> Target<'a> {
    /// The target for a checked name or ARN.
    #[must_use]
    pub fn of(stream: &'a StreamName) -> Self {
        match stream.as_str() {
            arn if arn::is_arn(arn) => Self::Arn(arn),
            name => Self::Name(name),
        }
    }

    /// The stream name, unless the target is an ARN.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Arn(_) => None,
        }
    }

    /// The stream ARN, unless the target is a name.
    #[must_use]
    pub const fn arn(&self) -> Option<&'a str> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => Some(arn),
        }
    }

    /// The name or the ARN.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Name(text) | Self::Arn(text) => text,
        }
    }
}

/// A batch put operation and the names of its members.
///
/// ```
/// use flush_engine::aws::wire::{Operation, Wire, WireFormat};
///
/// // Firehose speaks JSON only, whatever is asked for.
/// let wire = Wire::new(Operation::PutRecordBatch, WireFormat::Auto);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The operation of Kinesis Data Streams.
    PutRecords,
    /// The operation of Firehose, which speaks JSON only.
    PutRecordBatch,
}

impl Operation {
    pub(super) const fn speaks_cbor(self) -> bool {
        matches!(self, Self::PutRecords)
    }

    /// The member that names the stream.
    pub(super) const fn stream_member(self, target: Target<'_>) -> &'static str {
        match (self, target) {
            (Self::PutRecords, Target::Name(_)) => "StreamName",
            (Self::PutRecords, Target::Arn(_)) => "StreamARN",
            (Self::PutRecordBatch, _) => "DeliveryStreamName",
        }
    }

    /// The member with the list of results.
    pub(super) const fn results_member(self) -> &'static str {
        match self {
            Self::PutRecords => "Records",
            Self::PutRecordBatch => "RequestResponses",
        }
    }

    /// The member that a result has if its record was accepted.
    pub(super) const fn id_member(self) -> &'static str {
        match self {
            Self::PutRecords => "SequenceNumber",
            Self::PutRecordBatch => "RecordId",
        }
    }
}

/// How many decimal digits a hash key has.
pub(super) fn digits(hash_key: u128) -> usize {
    hash_key
        .checked_ilog10()
        .map_or(1, |power| power as usize + 1)
}
