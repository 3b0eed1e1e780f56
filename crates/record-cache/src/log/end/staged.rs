//! Writes a group, in one part or in several.

use std::sync::Mutex;

use super::{Active, Log, oldest_needed};
use crate::StoreError;
use crate::index::Entry;
use crate::log::catalog::{Catalog, Settled, lock};
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::log::frame::{GroupBody, frame_length, void_length};
use crate::log::group::Call;

/// A group that is partly or completely written, but does not count yet.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) active: Active,
    /// Whether the segment begins with it.
    pub(super) fresh: bool,
    /// The number of its first record.
    pub(super) first: u64,
    /// The number of written calls, and where they end.
    pub(super) calls: usize,
    pub(super) end: u64,
    pub(super) last_frame: Option<u32>,
    pub(super) entries: Vec<Entry>,
}

impl Log {
    /// Writes calls of a group that is still growing; `calls` is all of it so far.
    ///
    /// If that fails, nothing of the group counts.
    pub(crate) fn stage(
        &mut self,
        index: &Mutex<Catalog>,
        calls: &[Call],
    ) -> Result<(), StoreError> {
        let staged = self.staged.take();
        self.staged = Some(self.write_part(index, staged, calls)?);
        Ok(())
    }

    /// The number of written calls of the current group.
    pub(crate) fn staged_calls(&self) -> usize {
        self.staged.as_ref().map_or(0, |staged| staged.calls)
    }

    /// Whether the rest of the current group must go to another segment.
    pub(crate) fn is_full_for(&self, calls: &[Call]) -> bool {
        self.staged.as_ref().is_some_and(|staged| {
            let rest = calls.get(staged.calls..).unwrap_or_default();
            !rest.is_empty() && !self.fits(&staged.active, staged.end, rest)
        })
    }

    /// Writes the remaining calls of a group.
    pub(super) fn write_part(
        &mut self,
        index: &Mutex<Catalog>,
        staged: Option<Staged>,
        calls: &[Call],
    ) -> Result<Staged, StoreError> {
        let begins = staged.is_none();
        let mut staged = match staged {
            Some(staged) => staged,
            None => self.begin_group(calls)?,
        };
        let rest = calls.get(staged.calls..).unwrap_or_default();
        self.encode(index, &mut staged, begins, rest);
        self.at.next_sequence += rest.iter().map(Call::records).sum::<usize>() as u64;
        if let Err(error) = self.encoder.finish(&*staged.active.file) {
            let active = staged.active;
            let error = self.refused("cannot write", &segment_name(active.number), error);
            if staged.fresh {
                self.discard(&active);
            } else if active.file.truncate(active.written).is_ok() {
                self.at.active = Some(active);
            } else {
                self.abandon(&active);
            }
            self.at.voids.insert(staged.first, self.at.next_sequence);
            return Err(error);
        }
        staged.calls = calls.len();
        staged.end = self.encoder.offset;
        staged.last_frame = self.encoder.last_frame;
        staged.entries.append(&mut self.encoder.entries);
        staged.active.outline = self.encoder.outline.take();
        Ok(staged)
    }

    /// Finds the segment that a group goes to.
    fn begin_group(&mut self, calls: &[Call]) -> Result<Staged, StoreError> {
        let full = |active: &Active| {
            active.written > SEGMENT_HEADER_BYTES && !self.fits(active, active.written, calls)
        };
        if self.at.active.as_ref().is_some_and(full) {
            self.roll();
        }
        let (active, fresh) = match self.at.active.take() {
            Some(active) => (active, false),
            None => (self.create_segment()?, true),
        };
        Ok(Staged {
            fresh,
            first: self.at.next_sequence,
            calls: 0,
            end: active.written,
            last_frame: None,
            entries: Vec::new(),
            active,
        })
    }

    /// Whether a segment has room for these calls and its outline, after this offset.
    fn fits(&self, active: &Active, end: u64, calls: &[Call]) -> bool {
        let outline = active.outline.as_ref();
        let behind = outline.map_or(0, |outline| outline.length_with(calls));
        end + self.group_length(calls) + behind <= self.segment_bytes
    }

    fn group_length(&self, calls: &[Call]) -> u64 {
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.at.rewrite.iter().map(Settled::encoded_length).sum();
        let group = frame_length(0, GroupBody::BYTES);
        group + again + void_length(&self.at.voids) + calls
    }

    /// Encodes calls, and writes all but the end of them.
    fn encode(
        &mut self,
        index: &Mutex<Catalog>,
        staged: &mut Staged,
        begins: bool,
        calls: &[Call],
    ) {
        let first = self.at.next_sequence;
        let count: usize = calls.iter().map(Call::records).sum();
        // If the write fails, there is none any more.
        let outline = staged.active.outline.take();
        let active = &staged.active;
        let encoder = &mut self.encoder;
        encoder.begin((active.number, staged.end), first, outline);
        if begins && staged.fresh {
            let (number, salt) = (active.number, self.salt);
            let header = SegmentHeader {
                number,
                salt,
                base: first,
                previous: self.at.end,
            };
            encoder.raw(&header.encode());
        }
        let (oldest, oldest_base) = oldest_needed(&lock(index)).unwrap_or((active.number, first));
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
        if begins {
            for settled in &self.at.rewrite {
                encoder.settled(settled, &active.seal);
            }
            if !self.at.voids.is_empty() {
                encoder.voids(&self.at.voids, &active.seal);
            }
        }
        calls
            .iter()
            .for_each(|call| encoder.call(call, &active.seal, &*active.file));
    }
}
