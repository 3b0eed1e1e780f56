//! Reads a segment frame by frame, and decides where the log ends.

use super::{Replay, unknown};
use crate::StreamName;
use crate::index::ranges::Ranges;
use crate::index::{Broken, Entry};
use crate::log::Failure;
use crate::log::catalog::Settled;
use crate::log::format::SEGMENT_HEADER_BYTES;
use crate::log::frame::{ALIGNMENT, Kind};
use crate::log::outline::Outline;
use crate::log::scan::{Found, Scanner};
use crate::log::step::Step;

/// The end of the last segment.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Where the first incomplete call begins, if any.
    pub(crate) cut: Option<u64>,
    /// Where the last valid frame ends, and its checksum.
    pub(crate) end: u64,
    pub(crate) last_frame: Option<u32>,
    /// Records and settlements of complete calls after the cut.
    pub(crate) records: Vec<(StreamName, Entry)>,
    pub(crate) settled: Vec<Settled>,
    /// The outline of the segment, if it is intact throughout.
    pub(crate) outline: Option<Outline>,
}

/// A call with frames still missing.
struct Unfinished {
    start: u64,
    steps: Vec<Step>,
}

impl Replay {
    /// Reads the next segment.
    ///
    /// Data before `stable` was synced, so errors there are damage. After it, calls may be
    /// incomplete, and only complete ones count.
    pub(crate) fn segment(
        &mut self,
        number: u32,
        scanner: &mut Scanner<'_>,
        stable: u64,
    ) -> Result<Tail, Failure> {
        let mut tail = Tail {
            end: SEGMENT_HEADER_BYTES,
            outline: Some(Outline::new()),
            ..Tail::default()
        };
        let mut call: Option<Unfinished> = None;
        let (known_up_to, known_frame) = self.known_in(number);
        let mut reaches_known = known_frame.is_none();
        let mut offset = SEGMENT_HEADER_BYTES;
        while offset < scanner.end {
            let is_known = offset < known_up_to;
            if offset >= stable && !self.in_tail && !is_known {
                self.end_group();
                self.in_tail = true;
            }
            let mut found = scanner.frame(offset)?;
            if offset >= stable
                && let Some(frame) = &found
                && scanner.body(frame)?.is_none()
            {
                found = None;
            }
            let Some(found) = found else {
                if is_known && offset >= stable {
                    // A power loss removed what the index knows, so the index must forget it too.
                    return Err(unknown());
                }
                tail.outline = None;
                if self.in_tail {
                    tail.cut
                        .get_or_insert(call.take().map_or(offset, |call| call.start));
                } else if !is_known {
                    self.damaged_places += 1;
                }
                self.hole = true;
                let Some(next) = scanner.at_or_after(offset + ALIGNMENT)? else {
                    break;
                };
                offset = next.offset;
                continue;
            };
            offset = found.end();
            (tail.end, tail.last_frame) = (offset, Some(found.checksum));
            if offset == known_up_to {
                reaches_known = tail.last_frame == known_frame;
                self.hole = false;
            }
            let step = scanner.step(&found)?;
            match (&step, &mut tail.outline) {
                (Some(step), Some(outline)) => outline.add(step),
                _ => tail.outline = None,
            }
            if is_known {
                continue;
            }
            let is_group = found.header.kind == Kind::Group;
            if (is_group || found.header.starts)
                && let Some(call) = call.take()
            {
                tail.cut.get_or_insert(call.start);
                self.hole = true;
            }
            if self.in_tail && !is_group {
                self.step_in_tail(step, &found, &mut call, &mut tail)?;
            } else if let Some(step) = step {
                self.apply(step)?;
            } else if is_group {
                self.begin_numbers(found.header.sequence, 0);
            } else {
                self.damaged_places += 1;
            }
        }
        if let Some(call) = call {
            tail.cut.get_or_insert(call.start);
        }
        if !reaches_known {
            return Err(unknown());
        }
        self.hole |= scanner.end < stable;
        // The end may be missing because it was still being written.
        self.hole &= !self.in_tail;
        self.end_group();
        let whole = |outline: &Outline| tail.cut.is_none() && outline.end() == tail.end;
        tail.outline = tail.outline.take().filter(whole);
        Ok(tail)
    }

    /// Handles a frame that may never have been synced: it counts only as part of a complete call.
    fn step_in_tail(
        &mut self,
        step: Option<Step>,
        found: &Found,
        call: &mut Option<Unfinished>,
        tail: &mut Tail,
    ) -> Result<(), Broken> {
        if step.is_none() {
            self.damaged_places += 1;
        }
        let Some(step) = step.filter(|_| found.header.starts || call.is_some()) else {
            // The rest of a call that lacks its beginning.
            tail.cut
                .get_or_insert(call.take().map_or(found.offset, |call| call.start));
            self.hole = true;
            return Ok(());
        };
        let (start, steps) = (found.offset, Vec::new());
        let unfinished = call.get_or_insert(Unfinished { start, steps });
        unfinished.steps.push(step);
        if found.header.ends
            && let Some(whole) = call.take()
        {
            for step in whole.steps {
                self.apply_in_tail(step, tail)?;
            }
        }
        Ok(())
    }

    fn apply_in_tail(&mut self, step: Step, tail: &mut Tail) -> Result<(), Broken> {
        let mut lost_voids = Ranges::default();
        if tail.cut.is_some() {
            // This is now after the end of the log, so it must be written again.
            match &step {
                Step::Record { stream, entry, .. } => {
                    tail.records.push((stream.clone(), *entry));
                }
                Step::Settled(settled) => tail.settled.push(settled.clone()),
                Step::Void(voids) => lost_voids = voids.clone(),
                // A clear takes effect only if its group is complete.
                Step::Cleared => return Ok(()),
                Step::Group { .. } => {}
            }
        }
        self.apply(step)?;
        self.incomplete.insert_all(&lost_voids);
        Ok(())
    }
}
