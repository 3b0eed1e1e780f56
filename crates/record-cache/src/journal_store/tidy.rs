//! Giving the disk back.

use super::fetch::{fetch, sources};
use super::format::segment_name;
use super::group::{Call, Carried};
use super::index::Settled;
use super::log::lock;
use super::writer::{Occupancy, Writer};
use crate::index::queue::Entry;
use crate::{StoreError, StreamName};

/// Records are moved in portions of so many bytes.
const PORTION_BYTES: u64 = 4 << 20;
/// How many turns pass before tidying that failed is tried again.
const REST: u32 = 200;

impl Writer {
    /// Deletes segments that hold nothing, and empties the oldest ones while the log is
    /// more than twice as large as what it holds.
    ///
    /// Only the oldest segment ever goes, so what says that a record is settled stays as
    /// long as the record is there to be found.
    pub(super) fn tidy(&mut self) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        // Each step brings the oldest segment nearer to its end, so this many suffice.
        let steps = lock(&self.shared.index).segments.len() * 2 + 4;
        for _ in 0..steps {
            match self.tidy_once() {
                Ok(Progress::Some) => {}
                Ok(Progress::None) => {
                    self.reserve.restore(&*self.disk);
                    return;
                }
                Err(error) => {
                    // Nothing is lost; a full disk, say, is tried again later.
                    tracing::debug!(%error, "cannot give disk space back");
                    self.rest = REST;
                    return;
                }
            }
        }
    }

    fn tidy_once(&mut self) -> Result<Progress, StoreError> {
        let (oldest, live_records, occupancy) = {
            let index = lock(&self.shared.index);
            let Some((&number, segment)) = index.segments.first_key_value() else {
                return Ok(Progress::None);
            };
            (number, segment.live_records, Occupancy::of(&index))
        };
        if self.log.active_segment() == Some(oldest) {
            return Ok(Progress::None);
        }
        if live_records == 0 {
            self.remove_segment(oldest)?;
            return Ok(Progress::Some);
        }
        let slack = self.log.segment_bytes() / 2;
        if occupancy.total > 2 * occupancy.live + slack {
            self.carry_forward(oldest)?;
            return Ok(Progress::Some);
        }
        Ok(Progress::None)
    }

    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        if number >= self.log.needless_below() {
            let barrier = self.strongest();
            self.commit_in_need(&[], barrier)?;
        }
        if number < self.log.needless_below() {
            lock(&self.shared.index).segments.remove(&number);
            // One that stays is deleted by the next opening: the log says that it may go.
            let _ = self.disk.remove(&segment_name(number));
        }
        Ok(())
    }

    /// Writes what a segment holds to the end of the log.
    fn carry_forward(&mut self, segment: u32) -> Result<(), StoreError> {
        let mut held = lock(&self.shared.index).lying_in(segment);
        held.sort_unstable_by_key(|(_, entry)| entry.offset);
        for portion in portions(&held) {
            self.carry(portion)?;
        }
        Ok(())
    }

    /// Writes records once more, and forgets where they were.
    pub(super) fn carry(&mut self, held: &[(StreamName, Entry)]) -> Result<(), StoreError> {
        let sources = sources(
            &lock(&self.shared.index),
            held.iter().map(|(_, entry)| entry),
        );
        let wanted: Vec<_> = held.iter().map(|(name, entry)| (name, *entry)).collect();
        let mut fetched = Vec::with_capacity(held.len());
        fetch(&wanted, &sources, &self.shared.buffers, |one| {
            fetched.push(one);
        })
        .map_err(|error| self.log.refused("cannot read", "", error))?;
        let mut carried = Vec::with_capacity(held.len());
        let mut lost = Vec::new();
        for ((stream, entry), fetched) in held.iter().zip(fetched) {
            let stream = stream.clone();
            match fetched {
                Some(fetched) => {
                    let (header, body) = (fetched.header, fetched.body);
                    carried.push(Carried {
                        stream,
                        entry: *entry,
                        header,
                        body,
                    });
                }
                None => lost.push(Settled {
                    stream,
                    deleted: [entry.sequence].into_iter().collect(),
                    counted: Default::default(),
                }),
            }
        }
        let barrier = self.strongest();
        let mut calls: Vec<Call> = lost.iter().cloned().map(Call::Settle).collect();
        calls.push(Call::Carry(carried));
        let written = self.log.commit(&self.shared.index, &calls, barrier)?;
        let mut index = lock(&self.shared.index);
        for lost in &lost {
            let records = index.lose(lost).records;
            tracing::warn!(stream = %lost.stream, records, "a damaged record is dropped");
        }
        if let Some(Call::Carry(carried)) = calls.last() {
            for (carried, offset) in carried.iter().zip(written.places) {
                let to = Entry {
                    segment: written.segment,
                    offset,
                    ..carried.entry
                };
                index.relocate(&carried.stream, &carried.entry, to);
            }
        }
        Ok(())
    }
}

enum Progress {
    Some,
    None,
}

fn portions(held: &[(StreamName, Entry)]) -> impl Iterator<Item = &[(StreamName, Entry)]> {
    let mut rest = held;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, entry): &&(StreamName, Entry)| {
            let first = bytes == 0;
            bytes += u64::from(entry.size) + 64;
            first || bytes <= PORTION_BYTES
        };
        let count = rest.iter().take_while(fits).count();
        let (portion, behind) = rest.split_at(count);
        rest = behind;
        (count > 0).then_some(portion)
    })
}
