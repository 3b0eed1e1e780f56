//! Reclaims disk space by relocating records and deleting segments.

use std::num::{NonZeroU64, NonZeroUsize};

use super::writer::Writer;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::log::Failure;
use crate::log::buffers::Buffers;
use crate::log::catalog::{Settled, lock};
use crate::log::fetch::{Fetched, fetch, sources};
use crate::log::format::segment_name;
use crate::log::group::Call;
use crate::{Amount, ReadLimits, StoreError, StreamName};

/// Turns to wait before retrying a failed compaction.
const REST: u32 = 200;
/// Entries to fetch at a time.
const SOME: ReadLimits = ReadLimits::new(
    NonZeroUsize::MIN.saturating_add((1 << 14) - 1),
    NonZeroU64::MAX,
);

impl Writer {
    /// Deletes empty segments, and empties the oldest ones while the log is more than twice the
    /// size of its live data.
    ///
    /// Only the oldest segment is ever deleted, so a settlement outlives the records it settles.
    pub(crate) fn compact(&mut self) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        // Each step brings the oldest segment closer to deletion, so this many suffice.
        let steps = lock(&self.shared.catalog).segments.len() * 2 + 4;
        for _ in 0..steps {
            match self.compact_once() {
                Ok(true) => {}
                Ok(false) => {
                    self.reserve.restore(&*self.log.disk);
                    return;
                }
                Err(Failure::Index(_)) => {
                    if self.mend().is_err() {
                        self.rest = REST;
                        return;
                    }
                }
                Err(_) if self.syncer.wait_until_closed() => {}
                // Such as a full disk. Nothing is lost.
                Err(error) => {
                    tracing::debug!(target: "record_cache", %error, "cannot reclaim disk space");
                    self.rest = REST;
                    return;
                }
            }
        }
    }

    /// Returns whether there was something to do.
    fn compact_once(&mut self) -> Result<bool, Failure> {
        let (oldest, live_records, total, live) = {
            let catalog = lock(&self.shared.catalog);
            let Some((&number, segment)) = catalog.segments.first_key_value() else {
                return Ok(false);
            };
            let (total, live) = catalog.occupancy();
            (number, segment.live_records, total, live)
        };
        let is_active = self.log.active_segment() == Some(oldest);
        // If records are settled in the order they arrived, the oldest segment empties before the
        // last one fills, and nothing needs relocating unless the backlog is tiny. The slack is
        // less than a whole segment, to leave room for groups written before the next turn.
        let slack = self.log.segment_bytes / 16 * 15;
        if is_active || (live_records > 0 && total <= 2 * live + slack) {
            return Ok(false);
        }
        if live_records == 0 {
            self.remove_segment(oldest)?;
        } else {
            // The log is largest while records are relocated.
            self.syncer.wait_until_closed();
            self.carry_forward(oldest)?;
        }
        Ok(true)
    }

    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        if number >= self.log.needless_below {
            self.in_need(|writer| writer.log.commit(&[], writer.log.durability))?;
        }
        if number < self.log.needless_below {
            self.delete(number);
        }
        Ok(())
    }

    /// Deletes a segment that the log says is no longer needed.
    pub(super) fn delete(&mut self, number: u32) {
        let segment = lock(&self.shared.catalog).segments.remove(&number);
        // Windows may keep the name until the file is closed, so there it is closed first. Without a
        // reserve, the disk is or was full, and this may be the only space.
        let segment = segment.filter(|_| cfg!(unix) && self.reserve.is_there);
        // If it remains, the next open deletes it.
        let _ = self.log.disk.remove(&segment_name(number));
        if let Some(segment) = segment {
            self.syncer.close(&self.shared, segment.file);
        }
    }

    /// Relocates the records of a segment to the end of the log.
    pub(crate) fn carry_forward(&mut self, number: u32) -> Result<(), Failure> {
        let segment = lock(&self.shared.catalog).segments.get(&number).cloned();
        let Some(segment) = segment else {
            return Ok(());
        };
        segment.records(|records| {
            let held = lock(&self.shared.catalog).current(&records)?;
            self.shared.requests.sign();
            if !held.is_empty() {
                self.carry(&held)?;
            }
            let broken = lock(&self.shared.catalog).broken();
            broken.map_or(Ok(()), |broken| Err(broken.into()))
        })?;
        let is_left = lock(&self.shared.catalog)
            .segments
            .get(&number)
            .is_some_and(|segment| segment.live_records > 0);
        if is_left {
            // The frames can no longer be found, so the index must supply the records.
            let held = self.lying_in(number)?;
            self.carry(&held)?;
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
                let entries = lock(&self.shared.catalog).ask(|it| it.after(&name, after, SOME))?;
                let Some(last) = entries.last() else { break };
                after = Some(last.sequence);
                let inside = entries.iter().filter(|entry| entry.segment == segment);
                found.extend(inside.map(|entry| (name.clone(), *entry)));
            }
        }
        Ok(found)
    }

    /// Rewrites the records at these positions and updates the index.
    ///
    /// The index may break in the process; the log still has the records.
    pub(crate) fn carry(&mut self, held: &[(StreamName, Entry)]) -> Result<(), StoreError> {
        let entries = held.iter().map(|(_, entry)| entry);
        let sources = sources(&lock(&self.shared.catalog), entries);
        let mut carried = Vec::with_capacity(held.len());
        let mut lost = Vec::new();
        let take = |(stream, entry): &(StreamName, Entry), fetched: Option<Fetched>| {
            let stream = stream.clone();
            if let Some(fetched) = fetched {
                carried.push((stream, fetched.carried(entry.attempts)));
            } else {
                let settled = Settled {
                    stream,
                    deleted: [entry.sequence].into_iter().collect(),
                    counted: Ranges::default(),
                };
                lost.push((settled, Amount::new(1, entry.size.into())));
            }
        };
        fetch(held, &sources, &Buffers::default(), take)
            .map_err(|error| self.log.refused("cannot read", "", error))?;
        let mut calls: Vec<Call> = lost
            .iter()
            .map(|(lost, _)| Call::Settle(lost.clone()))
            .collect();
        calls.push(Call::Carry(carried));
        let written = self.log.commit(&calls, self.log.durability)?;
        for (lost, planned) in &lost {
            let records = self.enter_loss(lost, *planned).records;
            let stream = &lost.stream;
            tracing::warn!(target: "record_cache", %stream, records, "a damaged record is dropped");
        }
        let mut catalog = lock(&self.shared.catalog);
        if let Some(Call::Carry(carried)) = calls.last() {
            for ((stream, _), entry) in carried.iter().zip(written) {
                if catalog.put(stream, &[entry]).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}
