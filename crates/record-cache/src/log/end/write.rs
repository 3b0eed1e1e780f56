//! Writes groups.

use std::io;
use std::sync::Mutex;

use super::{Active, Log, oldest_needed};
use crate::StoreError;
use crate::index::Entry;
use crate::log::catalog::{Catalog, Settled, lock};
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::log::frame::{GroupBody, frame_length, void_length};
use crate::log::group::Call;

impl Log {
    /// Writes a group, and returns its records in the order of the calls. It has no effect yet.
    ///
    /// If this fails, earlier writes are kept.
    pub(crate) fn write(
        &mut self,
        index: &Mutex<Catalog>,
        calls: &[Call],
    ) -> Result<Vec<Entry>, StoreError> {
        if self.is_full_for(calls) {
            self.roll();
        }
        let mut active = match self.at.active.take() {
            Some(active) => active,
            None => self.create_segment()?,
        };
        let first = self.at.next_sequence;
        let count = calls.iter().map(|call| call.appended().len()).sum();
        let written = self.encode(index, &mut active, calls, count);
        self.at.next_sequence += count as u64;
        let needed = match written {
            Ok(needed) => needed,
            Err(error) => {
                self.at.voids.insert(first, self.at.next_sequence);
                return Err(self.cut_off(active, error));
            }
        };
        active.written = self.encoder.offset;
        active.last_frame = self.encoder.last_frame;
        active.outline = self.encoder.outline.take();
        self.at.active = Some(active);
        self.needed = needed;
        let voids = std::mem::take(&mut self.at.voids);
        self.unsynced.voids.insert_all(&voids);
        for settled in std::mem::take(&mut self.at.rewrite) {
            self.unsynced.push(settled);
        }
        Ok(std::mem::take(&mut self.encoder.entries))
    }

    /// Undoes a failed write.
    fn cut_off(&mut self, mut active: Active, error: io::Error) -> StoreError {
        let error = self.refused("cannot write", &segment_name(active.number), error);
        if active.written == 0 {
            self.discard(&active);
        } else {
            // If truncating fails, or a power loss undoes it, the rest lies after the end that the
            // next segment will state.
            active.torn = true;
            active.full = active.file.truncate(active.written).is_err();
            self.at.active = Some(active);
        }
        error
    }

    /// Whether these calls must go to another segment. Earlier writes are synced first.
    pub(crate) fn is_full_for(&self, calls: &[Call]) -> bool {
        let Some(active) = &self.at.active else {
            return false;
        };
        let outline = active.outline.as_ref();
        let behind = outline.map_or(0, |outline| outline.length_with(calls));
        let length = active.written + self.group_length(calls) + behind;
        active.full || (active.written > SEGMENT_HEADER_BYTES && length > self.segment_bytes)
    }

    fn group_length(&self, calls: &[Call]) -> u64 {
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.at.rewrite.iter().map(Settled::encoded_length).sum();
        let group = frame_length(0, GroupBody::BYTES);
        group + again + void_length(&self.at.voids) + calls
    }

    /// Encodes and writes calls with this many new records. Returns the oldest segment that the
    /// group needs.
    fn encode(
        &mut self,
        index: &Mutex<Catalog>,
        active: &mut Active,
        calls: &[Call],
        count: usize,
    ) -> io::Result<u32> {
        let first = self.at.next_sequence;
        // If the write fails, the outline is lost.
        let outline = active.outline.take();
        let encoder = &mut self.encoder;
        encoder.begin((active.number, active.written), first, outline);
        if active.written == 0 {
            active.base = first;
            let header = SegmentHeader {
                number: active.number,
                salt: self.salt,
                base: first,
                previous: self.at.end,
            };
            encoder.raw(&header.encode());
        }
        let needed = oldest_needed(&lock(index));
        let (oldest, oldest_base) = needed.unwrap_or((active.number, active.base));
        encoder.group(
            &GroupBody {
                salt: self.salt,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                stable: u32::try_from(active.synced).unwrap_or(u32::MAX),
                oldest,
                oldest_base,
            },
            &active.seal,
        );
        for settled in &self.at.rewrite {
            encoder.settled(settled, &active.seal);
        }
        if !self.at.voids.is_empty() {
            encoder.voids(&self.at.voids, &active.seal);
        }
        for call in calls {
            encoder.call(call, &active.seal, &*active.file)?;
        }
        encoder.write(&*active.file)?;
        Ok(oldest)
    }
}
