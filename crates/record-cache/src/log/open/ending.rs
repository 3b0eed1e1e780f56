//! Decides how the log continues after its last segment.

use std::io;
use std::sync::Arc;

use super::layout::Candidate;
use crate::Durability;
use crate::log::end::Active;
use crate::log::files::is_blank;
use crate::log::format::{Previous, RESERVE_BYTES, SEGMENT_HEADER_BYTES};
use crate::log::replay::Tail;

/// Prepares the last segment for writing, or returns its end for the next one to continue.
pub(super) fn continue_last(
    last: Option<&Candidate>,
    salt: u64,
    tail: &mut Tail,
    must_restate: bool,
    durability: Durability,
) -> io::Result<(Option<Active>, Option<Previous>)> {
    let Some(last) = last else {
        return Ok((None, None));
    };
    let (number, file) = (last.number, &*last.file);
    let length = file.length()?;
    // The end must not be in a frame that reaches past it, since that frame would swallow new data.
    let end = tail.cut.unwrap_or(tail.end);
    let stranded = !tail.records.is_empty() || !tail.settled.is_empty();
    // Data after the end stays readable until another segment has restated it.
    let Some(header) = last.header.filter(|_| !stranded && !must_restate) else {
        return Ok((None, Some(Previous { number, end })));
    };
    let rest = usize::try_from(length.saturating_sub(end)).unwrap_or(usize::MAX);
    // Only zeros are reserved space, which a full disk may need.
    if rest > RESERVE_BYTES || !is_blank(file, rest, end)? {
        file.truncate(end)?;
    }
    let synced = match durability {
        Durability::PowerLoss => {
            file.sync()?;
            end
        }
        Durability::ProcessCrash => SEGMENT_HEADER_BYTES,
    };
    let active = Active {
        written: end,
        synced,
        base: header.base,
        fresh: false,
        last_frame: tail.last_frame,
        outline: tail.outline.take(),
        ..Active::new(number, Arc::clone(&last.file), salt)
    };
    Ok((Some(active), None))
}
