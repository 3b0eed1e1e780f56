//! Begins and ends segments.

use std::io;
use std::sync::Arc;

use super::{Active, Log};
use crate::log::files::DiskFile;
use crate::log::format::{Previous, TEMPORARY_SEGMENT, segment_name};
use crate::log::frame::Seal;
use crate::log::outline::Outline;
use crate::{Durability, StoreError};

impl Log {
    /// Continues in a new segment, starting with the next group.
    pub(crate) fn roll(&mut self) {
        if self.durability == Durability::PowerLoss && self.sync().is_err() {
            return;
        }
        let Some(active) = self.at.active.take() else {
            return;
        };
        self.at.end = Some(Previous {
            number: active.number,
            end: active.written,
        });
        self.seal(active);
    }

    /// Continues in a segment made from a file with reserved space. If `aside`, the segment is
    /// named only once its first group is on stable storage.
    pub(crate) fn go_on_in(&mut self, name: &str, aside: bool) -> io::Result<()> {
        self.roll();
        let number = self.at.next_number;
        let after = number.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
        let aside = aside && self.durability == Durability::PowerLoss;
        let segment = segment_name(number);
        let segment = if aside { TEMPORARY_SEGMENT } else { &segment };
        self.disk.rename(name, segment)?;
        self.at.next_number = after;
        self.spare = Some((number, self.disk.open(segment)?));
        self.aside = aside.then_some(number);
        Ok(())
    }

    /// Makes the next group begin a segment that, after a power loss, exists whole or not at all.
    ///
    /// The new segment replaces whatever lies after the end of the previous one.
    pub(crate) fn begin_aside(&mut self) -> Result<(), StoreError> {
        if self.durability == Durability::ProcessCrash {
            return Ok(());
        }
        let file = self.disk.create(TEMPORARY_SEGMENT);
        let file = file.map_err(|error| self.refused("cannot create", TEMPORARY_SEGMENT, error))?;
        let number = self.at.next_number;
        self.at.next_number = number.checked_add(1).ok_or_else(no_numbers_left)?;
        (self.spare, self.aside) = (Some((number, file)), Some(number));
        Ok(())
    }

    pub(crate) fn create_segment(&mut self) -> Result<Active, StoreError> {
        if let Some((number, file)) = self.spare.take() {
            return Ok(self.begin_segment(number, file));
        }
        loop {
            let number = self.at.next_number;
            let name = segment_name(number);
            let after = number.checked_add(1).ok_or_else(no_numbers_left)?;
            match self.disk.create(&name) {
                Ok(file) => {
                    self.at.next_number = after;
                    return Ok(self.begin_segment(number, file));
                }
                // Left over from a failed attempt that could not be undone.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.at.next_number = after;
                }
                Err(error) => return Err(self.refused("cannot create", &name, error)),
            }
        }
    }

    fn begin_segment(&self, number: u32, file: Arc<dyn DiskFile>) -> Active {
        Active {
            number,
            file,
            seal: Seal::new(self.salt, number),
            written: 0,
            synced: 0,
            base: 0,
            fresh: true,
            full: false,
            entered: false,
            last_frame: None,
            outline: Some(Outline::new()),
        }
    }

    /// Abandons a segment that holds nothing acknowledged.
    pub(crate) fn discard(&self, active: &Active) {
        // If it remains, it is ignored, because no later segment continues it.
        let _ = active.file.truncate(0);
        let _ = self.disk.remove(&segment_name(active.number));
    }
}

fn no_numbers_left() -> StoreError {
    StoreError::unavailable_because("there are no segment numbers left")
}
