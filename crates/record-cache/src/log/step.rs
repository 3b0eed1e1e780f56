//! The meaning of a frame, however it was read.

use super::catalog::Settled;
use super::frame::{GroupBody, length, record_length, void_length};
use crate::StreamName;
use crate::index::Entry;
use crate::index::ranges::Ranges;

#[derive(Debug)]
pub(crate) enum Step {
    /// The first sequence number of a group, how many there are, the oldest segment still needed,
    /// and the first number in that segment.
    Group {
        first: u64,
        count: u32,
        oldest: (u32, u64),
    },
    /// A record, appended or relocated.
    Record {
        carried: bool,
        stream: StreamName,
        entry: Entry,
    },
    Settled(Settled),
    Void(Ranges),
    Cleared,
}

impl Step {
    /// The length of the frame.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Group { .. } => GroupBody::FRAME_BYTES,
            Self::Record { stream, entry, .. } => record_length(stream, entry),
            Self::Settled(settled) => settled.encoded_length(),
            Self::Void(voids) => void_length(voids),
            Self::Cleared => length(0, false, 0),
        }
    }
}
