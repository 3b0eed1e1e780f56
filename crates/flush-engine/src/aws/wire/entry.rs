//! What a request says, before it has a format.

use std::fmt;

use record_cache::StreamName;

use crate::aws::arn;

/// One record as it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The payload.
    pub data: &'a [u8],
    /// The partition key, for services that have one.
    pub partition_key: Option<&'a str>,
    /// The hash that goes before the partition key's own.
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

// Shows no payload and no key.
impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The stream that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// By its name.
    Name(&'a str),
    /// By its ARN; `PutRecords` only.
    Arn(&'a str),
}

impl<'a> Target<'a> {
    /// What a name that was checked says.
    #[must_use]
    pub fn of(stream: &'a StreamName) -> Self {
        match stream.as_str() {
            arn if arn::is_arn(arn) => Self::Arn(arn),
            name => Self::Name(name),
        }
    }

    /// The name, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Arn(_) => None,
        }
    }

    /// The ARN, if it is one.
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

/// An operation that puts many records, and the names of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Of Kinesis Data Streams.
    PutRecords,
    /// Of Firehose, which speaks JSON only.
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

    /// The list of results.
    pub(super) const fn results_member(self) -> &'static str {
        match self {
            Self::PutRecords => "Records",
            Self::PutRecordBatch => "RequestResponses",
        }
    }

    /// What a result has when its record was accepted.
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
