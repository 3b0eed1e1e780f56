//! The records that a segment was written with.

use std::io;

use super::catalog::Segment;
use super::frame::Kind;
use super::outline::{Outline, Step};
use super::scan::{Found, Scanner};
use crate::StreamName;
use crate::index::queue::Entry;

/// Records are passed on in portions of this many.
const PORTION: usize = 8192;

/// Passes on the records of a segment, in portions, in the order of their positions.
///
/// They come from its outline or, if there is none, from its frames; records with damaged frames
/// are missing. The index knows which of them are still live.
pub(crate) fn records<E: From<io::Error>>(
    segment: &Segment,
    number: u32,
    salt: u64,
    mut take: impl FnMut(Vec<(StreamName, Entry)>) -> Result<(), E>,
) -> Result<(), E> {
    let mut portion = Vec::new();
    let outline = Outline::read(&*segment.file, number, salt)?;
    if let Some(outline) = outline.filter(|outline| outline.end() == segment.end) {
        for step in outline.steps(number) {
            if let Step::Record { stream, entry, .. } = step
                && let Some(name) = outline.stream(stream)
            {
                portion.push((name.clone(), entry));
                if portion.len() == PORTION {
                    take(std::mem::take(&mut portion))?;
                }
            }
        }
        return take(portion);
    }
    let mut scanner = Scanner::new(&*segment.file, segment.seal, segment.end)?;
    let (mut found, mut last) = (Found::default(), None);
    let mut offset = super::format::SEGMENT_HEADER_BYTES;
    while offset < scanner.end() {
        if !scanner.frame(offset, &mut found)? && !scanner.next_frame(offset, &mut found)? {
            break;
        }
        offset = found.end();
        if !matches!(found.header.kind, Kind::Record | Kind::Carried) {
            continue;
        }
        let same = |name: &StreamName| name.as_str().as_bytes() == found.name;
        if !last.as_ref().is_some_and(same) {
            let name = str::from_utf8(&found.name).ok();
            last = name.and_then(|name| StreamName::new(name).ok());
        }
        if let Some(name) = &last {
            portion.push((name.clone(), found.entry(number)));
            if portion.len() == PORTION {
                take(std::mem::take(&mut portion))?;
            }
        }
    }
    take(portion)
}
