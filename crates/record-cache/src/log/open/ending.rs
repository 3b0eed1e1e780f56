//! How the log goes on behind its last segment.

use std::io;
use std::sync::Arc;

use super::layout::Candidate;
use crate::Durability;
use crate::log::end::Active;
use crate::log::files::DiskFile;
use crate::log::format::{Previous, RESERVE_BYTES, SEGMENT_HEADER_BYTES};
use crate::log::frame::Seal;
use crate::log::replay::Tail;

/// Prepares the last segment for writing, or says where the next one continues.
pub(super) fn continue_last(
    last: Option<&Candidate>,
    salt: u64,
    tail: &mut Tail,
    must_restate: bool,
    durability: Durability,
) -> io::Result<(Option<Active>, Option<Previous>)> {
    let Some(Candidate {
        number,
        file,
        header,
        ..
    }) = last
    else {
        return Ok((None, None));
    };
    let length = file.length()?;
    // A frame that extends past the end would swallow new data.
    let end = tail.cut.unwrap_or(tail.end);
    let stranded = !tail.records.is_empty() || !tail.settled.is_empty();
    // What lies behind the end stays readable until another segment says it.
    if stranded || must_restate || header.is_none() {
        return Ok((
            None,
            Some(Previous {
                number: *number,
                end,
            }),
        ));
    }
    if end < length && !is_room(&**file, end, length)? {
        file.truncate(end)?;
    }
    let synced = match durability {
        Durability::PowerLoss => {
            file.sync()?;
            end
        }
        Durability::ProcessCrash => SEGMENT_HEADER_BYTES,
    };
    let seal = Seal::new(salt, *number);
    let file = Arc::clone(file);
    let active = Active {
        number: *number,
        file,
        seal,
        written: end,
        synced,
        base: header.as_ref().map_or(0, |header| header.base),
        fresh: false,
        full: false,
        entered: false,
        last_frame: tail.last_frame,
        outline: tail.outline.take(),
    };
    Ok((Some(active), None))
}

/// Whether there are only zeros after this offset: space that a full disk may need.
fn is_room(file: &dyn DiskFile, from: u64, length: u64) -> io::Result<bool> {
    let bytes = usize::try_from(length - from).unwrap_or(usize::MAX);
    if bytes > RESERVE_BYTES {
        return Ok(false);
    }
    let mut behind = Vec::new();
    file.read(&mut behind, bytes, from)?;
    Ok(behind.iter().all(|&byte| byte == 0))
}
