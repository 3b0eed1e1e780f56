//! Writes the outlines of complete segments.

use std::sync::{Arc, Mutex};

use super::{Active, Catalog, Log};
use crate::log::catalog::lock;
use crate::log::files::DiskFile;
use crate::log::outline::Outline;

/// The last segment gets an outline only if it is at least this fraction full.
const LONG_ENOUGH: u64 = 16;

/// A segment that is complete.
#[derive(Debug)]
pub(crate) struct Sealed {
    number: u32,
    file: Arc<dyn DiskFile>,
    outline: Outline,
}

impl Sealed {
    /// A segment that ends here, if its outline covers all of it.
    pub(crate) fn new(
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
    /// Notes that a segment is complete and durable.
    pub(crate) fn seal(&mut self, active: Active) {
        let Active {
            number,
            file,
            written,
            outline,
            ..
        } = active;
        let sealed = outline.and_then(|outline| Sealed::new(number, file, outline, written));
        self.at.sealed.extend(sealed);
    }

    /// Writes the outlines of newly complete segments, if there is space.
    pub(crate) fn write_outlines(&mut self, index: &Mutex<Catalog>, room: bool) {
        for Sealed {
            number,
            file,
            outline,
        } in self.at.sealed.drain(..)
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
                // The next opening will read the frames instead.
                Err(error) => {
                    tracing::debug!(target: "record_cache", %error, "a segment is left without an outline")
                }
            }
        }
    }

    /// Ends the active segment, because the log is being closed.
    pub(crate) fn seal_last(&mut self) {
        if let Some(active) = self.at.active.take()
            && active.written >= self.segment_bytes / LONG_ENOUGH
        {
            self.seal(active);
        }
    }
}
