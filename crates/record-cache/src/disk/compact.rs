//! Reclaims disk space by relocating records and deleting segments.

use super::writer::{Occupancy, Writer};
use crate::index::queue::Entry;
use crate::log::Failure;
use crate::log::catalog::{Settled, lock};
use crate::log::contents;
use crate::log::fetch::{fetch, sources};
use crate::log::format::segment_name;
use crate::log::group::{Call, Carried};
use crate::{ReadLimits, StoreError, StreamName};
use std::num::{NonZeroU64, NonZeroUsize};

/// Records are relocated in portions of this many bytes.
const PORTION_BYTES: u64 = 4 << 20;
/// Turns to wait before retrying a failed compaction.
const REST: u32 = 200;
/// Entries to request at a time.
const SOME: ReadLimits = ReadLimits::new(
    NonZeroUsize::MIN.saturating_add((1 << 14) - 1),
    NonZeroU64::MAX,
);

impl Writer {
    /// Deletes empty segments, and empties the oldest ones while the log is more than twice as
    /// large as its live data.
    ///
    /// Only the oldest segment is ever deleted, so a settlement outlives the records it settles.
    pub(crate) fn compact(&mut self) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        // Each step brings the oldest segment nearer to its end, so this many suffice.
        let steps = lock(&self.shared.catalog).segments.len() * 2 + 4;
        for _ in 0..steps {
            match self.compact_once() {
                Ok(Progress::Some) => {}
                Ok(Progress::None) => {
                    self.reserve.restore(&*self.disk);
                    return;
                }
                Err(Failure::Index(_)) => {
                    if self.mend().is_err() {
                        self.rest = REST;
                        return;
                    }
                }
                Err(Failure::Store(error)) => return self.rest_after(&error),
                Err(Failure::Disk(error)) => return self.rest_after(&error),
            }
        }
    }

    /// Nothing is lost; after a full disk, for example, it is retried later.
    fn rest_after(&mut self, error: &dyn std::fmt::Display) {
        tracing::debug!(target: "record_cache", %error, "cannot reclaim disk space");
        self.rest = REST;
    }

    fn compact_once(&mut self) -> Result<Progress, Failure> {
        let (oldest, live_records, occupancy) = {
            let catalog = lock(&self.shared.catalog);
            let Some((&number, segment)) = catalog.segments.first_key_value() else {
                return Ok(Progress::None);
            };
            (number, segment.live_records, Occupancy::of(&catalog))
        };
        if self.log.active_segment() == Some(oldest) {
            return Ok(Progress::None);
        }
        if live_records == 0 {
            self.remove_segment(oldest)?;
            return Ok(Progress::Some);
        }
        // Where records leave in the order in which they came, the oldest segment is empty before the
        // last one is full, and nothing need be relocated.
        let slack = self.log.segment_bytes();
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
            lock(&self.shared.catalog).segments.remove(&number);
            // If it remains, the next opening deletes it: the log says that it is not needed.
            let _ = self.disk.remove(&segment_name(number));
        }
        Ok(())
    }

    /// Relocates the records of a segment to the end of the log.
    pub(crate) fn carry_forward(&mut self, number: u32) -> Result<(), Failure> {
        let segment = lock(&self.shared.catalog).segments.get(&number).cloned();
        let Some(segment) = segment else {
            return Ok(());
        };
        let salt = self.log.salt();
        contents::records::<Failure>(&segment, number, salt, |records| {
            let held = lock(&self.shared.catalog).current(&records)?;
            self.carry_all(&held)
        })?;
        let held = |segment: &crate::log::catalog::Segment| segment.live_records;
        let left = lock(&self.shared.catalog)
            .segments
            .get(&number)
            .map_or(0, held);
        if left > 0 {
            // Their frames cannot be found.
            let held = self.lying_in(number)?;
            self.carry_all(&held)?;
        }
        Ok(())
    }

    /// All records in one segment, according to the index.
    fn lying_in(&self, segment: u32) -> Result<Vec<(StreamName, Entry)>, Failure> {
        let names = lock(&self.shared.counters).names();
        let mut found = Vec::new();
        for name in names {
            let mut after = None;
            loop {
                let entries = lock(&self.shared.catalog).after(&name, after, SOME)?;
                let Some(last) = entries.last() else { break };
                after = Some(last.sequence);
                let inside = entries.iter().filter(|entry| entry.segment == segment);
                found.extend(inside.map(|entry| (name.clone(), *entry)));
            }
        }
        Ok(found)
    }

    fn carry_all(&mut self, held: &[(StreamName, Entry)]) -> Result<(), Failure> {
        for portion in portions(held) {
            self.shared.requests.sign();
            self.carry(portion)?;
            if let Some(broken) = lock(&self.shared.catalog).broken() {
                return Err(broken.into());
            }
        }
        Ok(())
    }

    /// Writes records again, and updates their positions.
    ///
    /// The index may be broken afterwards; the log has them.
    pub(crate) fn carry(&mut self, held: &[(StreamName, Entry)]) -> Result<(), StoreError> {
        let sources = sources(
            &lock(&self.shared.catalog),
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
                None => {
                    let deleted = [entry.sequence].into_iter().collect();
                    lost.push(Settled::deleted(stream, deleted));
                }
            }
        }
        let barrier = self.strongest();
        let mut calls: Vec<Call> = lost.iter().cloned().map(Call::Settle).collect();
        calls.push(Call::Carry(carried));
        let written = self.log.commit(&self.shared.catalog, &calls, barrier)?;
        for lost in &lost {
            let records = self.enter_loss(lost).records;
            let stream = &lost.stream;
            tracing::warn!(target: "record_cache", %stream, records, "a damaged record is dropped");
        }
        let mut catalog = lock(&self.shared.catalog);
        if let Some(Call::Carry(carried)) = calls.last() {
            for (carried, offset) in carried.iter().zip(written.places) {
                let to = Entry {
                    segment: written.segment,
                    offset,
                    ..carried.entry
                };
                if catalog
                    .relocate(&carried.stream, &carried.entry, to)
                    .is_err()
                {
                    break;
                }
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
