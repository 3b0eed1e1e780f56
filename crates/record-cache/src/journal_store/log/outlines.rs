//! Outlines of the segments that are complete.

use std::sync::{Arc, Mutex};

use super::{Active, Index, Log, lock};
use crate::journal_store::disk::DiskFile;
use crate::journal_store::outline::Outline;

/// One is written for the last segment only when that is at least this part of a whole one.
const LONG_ENOUGH: u64 = 16;

/// A segment that is not written to any more.
#[derive(Debug)]
pub(in crate::journal_store) struct Sealed {
    number: u32,
    file: Arc<dyn DiskFile>,
    outline: Outline,
}

impl Sealed {
    /// A segment that ends here, if the outline speaks of all of it.
    pub(in crate::journal_store) fn new(
        number: u32,
        file: Arc<dyn DiskFile>,
        outline: Outline,
        end: u64,
    ) -> Option<Self> {
        (outline.end() == end).then_some(Self {
            number,
            file,
            outline,
        })
    }
}

impl Log {
    /// Notes that a segment is complete, and as durable as it has to be.
    pub(super) fn seal(&mut self, active: Active) {
        let Active {
            number,
            file,
            written,
            outline,
            ..
        } = active;
        let sealed = outline.and_then(|outline| Sealed::new(number, file, outline, written));
        self.sealed.extend(sealed);
    }

    /// Writes the outlines of segments that have become complete, where there is room.
    pub(in crate::journal_store) fn write_outlines(&mut self, index: &Mutex<Index>, room: bool) {
        for Sealed {
            number,
            file,
            outline,
        } in self.sealed.drain(..)
        {
            if !room || !lock(index).segments.contains_key(&number) {
                continue;
            }
            match outline.write(&*file, number, self.salt) {
                Ok(length) => {
                    if let Some(segment) = lock(index).segments.get_mut(&number) {
                        segment.length = length;
                    }
                }
                // The next opening reads the frames instead.
                Err(error) => tracing::debug!(%error, "a segment is left without an outline"),
            }
        }
    }

    /// Goes no further in this segment, since the log is closed.
    pub(in crate::journal_store) fn seal_last(&mut self) {
        if let Some(active) = self.active.take()
            && active.written >= self.segment_bytes / LONG_ENOUGH
        {
            self.seal(active);
        }
    }
}
