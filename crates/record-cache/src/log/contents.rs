//! Lists the records written to a segment.

use super::Failure;
use super::catalog::Segment;
use super::format::SEGMENT_HEADER_BYTES;
use super::step::Step;
use crate::StreamName;
use crate::index::Entry;

/// The size of a portion, in records and in bytes.
const PORTION: usize = 8192;
const PORTION_BYTES: u64 = 4 << 20;

/// Passes on the records of a segment, in portions, in order of position.
///
/// The records come from the segment's outline or, without one, from its frames. Records with
/// damaged frames are missing. The index knows which records are still live.
pub(crate) fn records(
    segment: &Segment,
    number: u32,
    salt: u64,
    mut take: impl FnMut(Vec<(StreamName, Entry)>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut portion = Vec::new();
    let mut bytes = 0;
    let mut add = |step: Option<Step>| -> Result<(), Failure> {
        if let Some(Step::Record { stream, entry, .. }) = step {
            bytes += u64::from(entry.size);
            portion.push((stream, entry));
            if portion.len() == PORTION || bytes >= PORTION_BYTES {
                bytes = 0;
                return take(std::mem::take(&mut portion));
            }
        }
        Ok(())
    };
    if let Some(outline) = segment.outline(number, salt)? {
        outline.steps(number).try_for_each(|step| add(Some(step)))?;
    } else {
        let mut scanner = segment.scanner()?;
        let mut offset = SEGMENT_HEADER_BYTES;
        while let Some(found) = scanner.at_or_after(offset)? {
            offset = found.end();
            add(scanner.step(number, &found)?)?;
        }
    }
    take(portion)
}
