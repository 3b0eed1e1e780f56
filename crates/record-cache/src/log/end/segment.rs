//! Begins and ends segments.

use std::io;

use super::{Active, Log};
use crate::log::catalog::lock;
use crate::log::files::{is_blank, remove_if_there};
use crate::log::format::{RESERVE, RESERVE_BYTES, TEMPORARY_SEGMENT, segment_name};
use crate::{Durability, StoreError};

/// The last segment gets an outline only if it is at least this fraction full.
const LONG_ENOUGH: u64 = 16;

impl Log {
    /// Continues in a new segment, starting with the next group.
    pub(crate) fn roll(&mut self) {
        if self.durability == Durability::PowerLoss && self.sync().is_err() {
            return;
        }
        let Some(active) = self.at.active.take() else {
            return;
        };
        (self.at.end, self.at.torn) = (Some(active.end()), active.torn);
        self.seal(active);
    }

    /// Notes that a segment is complete and durable.
    fn seal(&mut self, active: Active) {
        let outline = active.outline.map(|outline| (active.number, outline));
        self.at.sealed.extend(outline);
    }

    /// Ends the active segment, because the log is being closed.
    pub(crate) fn seal_last(&mut self) {
        if let Some(active) = self.at.active.take()
            && active.written >= self.segment_bytes / LONG_ENOUGH
        {
            self.seal(active);
        }
    }

    /// Writes the outlines of newly complete segments that still exist, if there is space.
    pub(crate) fn write_outlines(&mut self, room: bool) {
        for (number, outline) in self.at.sealed.drain(..) {
            let segment = lock(&self.catalog).segments.get(&number).cloned();
            // An outline must cover all of its segment.
            let segment = segment.filter(|segment| room && outline.end() == segment.end);
            let Some(segment) = segment else {
                continue;
            };
            match outline.write(&*segment.file, &segment.seal) {
                Ok(length) => {
                    if let Some(segment) = lock(&self.catalog).segments.get_mut(&number) {
                        segment.length = length;
                    }
                }
                // The next open will read the frames instead.
                Err(error) => {
                    tracing::debug!(target: "record_cache", %error, "a segment is left without an outline")
                }
            }
        }
    }

    /// Continues in a segment made from the reserved space.
    pub(crate) fn go_on_in_reserve(&mut self) -> io::Result<()> {
        // After a power loss, an old file may reappear with frames in it, which must never be found
        // again.
        if !is_blank(&*self.disk.open(RESERVE)?, RESERVE_BYTES, 0)? {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.roll();
        let number = self.at.next_number;
        let after = number.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
        let (name, aside) = self.first_name(number);
        self.disk.rename(RESERVE, &name)?;
        self.at.next_number = after;
        let active = Active::new(number, self.disk.open(&name)?, self.at.salt);
        self.spare = Some(Active { aside, ..active });
        Ok(())
    }

    pub(crate) fn create_segment(&mut self) -> Result<Active, StoreError> {
        if let Some(active) = self.spare.take() {
            return Ok(active);
        }
        loop {
            let number = self.at.next_number;
            let (name, aside) = self.first_name(number);
            let after = number.checked_add(1).ok_or_else(|| {
                StoreError::unavailable_because("there are no segment numbers left")
            })?;
            match self.disk.create(&name) {
                Ok(file) => {
                    self.at.next_number = after;
                    let active = Active::new(number, file, self.at.salt);
                    return Ok(Active { aside, ..active });
                }
                // Left over from a failed attempt that could not be undone.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !aside => {
                    self.at.next_number = after;
                }
                Err(error) => return Err(self.refused("cannot create", &name, error)),
            }
        }
    }

    /// The name of a new segment until it is synced, and whether it gets another one then.
    ///
    /// A segment behind a torn one must, after a power loss, exist whole or not at all, since it
    /// alone says where the torn one ends.
    fn first_name(&self, number: u32) -> (String, bool) {
        if self.at.torn && self.durability == Durability::PowerLoss {
            let _ = remove_if_there(&*self.disk, TEMPORARY_SEGMENT);
            (TEMPORARY_SEGMENT.to_owned(), true)
        } else {
            (segment_name(number), false)
        }
    }

    /// Abandons a segment that holds nothing acknowledged.
    pub(crate) fn discard(&mut self, active: &Active) {
        self.at.torn = true;
        // If it remains, it is ignored, because no later segment continues it.
        let _ = active.file.truncate(0);
        let _ = self.disk.remove(&segment_name(active.number));
        if active.aside {
            let _ = self.disk.remove(TEMPORARY_SEGMENT);
        }
    }
}
