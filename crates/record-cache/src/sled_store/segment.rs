//! The unit in which sled takes disk, and how large a value may be in it.

/// The size of sled's segments, fixed for a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentSize {
    /// Keeps a cache of some megabytes within four times its size on disk.
    Small,
    /// Fewer of them, for caches in which a few megabytes do not matter.
    Large,
}

/// Up to here the small segments serve.
const SMALL_CAP: u64 = 50 * 1024 * 1024;

impl SegmentSize {
    pub(super) const fn for_cap(expected_bytes: u64) -> Self {
        if expected_bytes <= SMALL_CAP {
            Self::Small
        } else {
            Self::Large
        }
    }

    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Small => 512 * 1024,
            Self::Large => 2 * 1024 * 1024,
        }
    }

    pub(super) fn of_bytes(bytes: usize) -> Option<Self> {
        [Self::Small, Self::Large]
            .into_iter()
            .find(|size| size.bytes() == bytes)
    }
}

/// The longest value that may be stored, in segments of any size.
///
/// Larger values in larger segments are a little faster; but sled keeps hundreds of pages
/// of 16 values in memory, whatever it is told, so that they take several times as much.
pub(super) const VALUE_BYTES: usize = 6_400;

// sled writes a leaf, with up to 19 items, as one message. A message of a quarter of a
// segment goes to a file of its own, which sled never syncs: no value may lead there.
const _: () = {
    const fn stays_inline(size: SegmentSize) -> bool {
        let message = size.bytes() / 4 - 20 - 32;
        VALUE_BYTES + super::keys::PAYLOAD_BYTES <= message / 20
    }
    assert!(stays_inline(SegmentSize::Small) && stays_inline(SegmentSize::Large));
};
