//! Examines the files of a log before anything is replayed.

use std::io;
use std::sync::Arc;

use crate::StoreError;
use crate::log::catalog::Segment;
use crate::log::directory;
use crate::log::end::refused;
use crate::log::files::{Disk, DiskFile, is_blank};
use crate::log::format::{
    Found, MARK, Mark, Previous, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name,
};
use crate::log::frame::{GroupBody, Kind, Seal};
use crate::log::outline::Outline;
use crate::log::scan::Scanner;

/// The segments of a log: those that count, and those that do not.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) mark: Option<Mark>,
    /// Unknown if there is no log.
    pub(crate) salt: Option<u64>,
    /// The segments that count, oldest first. Until they are arranged, all of them.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) last_group: Option<LastGroup>,
    /// Segments that no later one continues.
    pub(super) loose: Vec<u32>,
    /// Segments with neither a header nor a frame.
    pub(crate) unusable: Vec<Candidate>,
    /// Segments that exist but are no longer needed.
    pub(crate) needless: Vec<u32>,
    pub(super) next_number: u32,
}

/// A segment as found.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: Option<SegmentHeader>,
    /// Its end, as stated by its successor.
    pub(crate) end: u64,
}

/// Facts about the log from its last group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastGroup {
    salt: u64,
    /// The oldest segment still needed, and the first sequence number in it.
    pub(super) oldest: u32,
    oldest_base: u64,
    /// The highest synced offset that any group of the last segment records.
    pub(super) stable: u64,
    /// The offset of the group in the last segment.
    pub(super) offset: u64,
}

impl Layout {
    /// Finds all segments, and reads what their first bytes say, without changing anything.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if the log has another version.
    pub(crate) fn find(disk: &dyn Disk) -> Result<Self, StoreError> {
        let failed = |error: io::Error| refused(disk, "cannot read the directory", "", error);
        let mut candidates = Vec::new();
        for number in directory::segments(disk).map_err(failed)? {
            let name = segment_name(number);
            let found = beginning(disk, &name);
            let Some((file, bytes)) = found.map_err(|e| refused(disk, "cannot read", &name, e))?
            else {
                continue;
            };
            let header = sound(disk, SegmentHeader::decode(&bytes))?;
            candidates.push(Candidate {
                number,
                file,
                header: header.filter(|header| header.number == number),
                end: u64::MAX,
            });
        }
        let mark = match beginning(disk, MARK) {
            Ok(Some((_, bytes))) => sound(disk, Mark::decode(&bytes))?.or_else(|| {
                tracing::warn!(target: "record_cache", path = %disk.path().display(), "the log's mark is damaged");
                None
            }),
            Ok(None) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(disk, "cannot read", MARK, error)),
        };
        Ok(Self {
            mark,
            candidates,
            ..Self::default()
        })
    }

    /// Decides which segments count.
    pub(crate) fn arrange(mut self) -> io::Result<Self> {
        let mut candidates = std::mem::take(&mut self.candidates);
        let behind = candidates.last().map(|last| last.number.saturating_add(1));
        let marked = self.mark.and_then(|mark| mark.last);
        self.next_number = behind.max(marked.map(|last| last.number)).unwrap_or(0);
        self.salt = find_salt(self.mark, &candidates)?;
        let Some(salt) = self.salt else {
            self.unusable = candidates;
            return Ok(self);
        };
        for candidate in &mut candidates {
            // Segments of another store do not count.
            candidate.header = candidate.header.filter(|header| header.salt == salt);
        }
        self.loose = link(&mut candidates);
        for candidate in candidates {
            let has_frame = || candidate.scanner(salt)?.at_or_after(SEGMENT_HEADER_BYTES);
            if candidate.header.is_some() || has_frame()?.is_some() {
                self.candidates.push(candidate);
            } else {
                self.unusable.push(candidate);
            }
        }
        self.last_group = find_last_group(&self.candidates, salt)?;
        let oldest = self.last_group.map_or(0, |last| last.oldest);
        let needless = self.candidates.extract_if(.., |c| c.number < oldest);
        self.needless = needless.map(|candidate| candidate.number).collect();
        Ok(self)
    }

    /// The sequence number that the first record should have.
    pub(crate) fn first_number(&self) -> Option<u64> {
        let base = self.candidates.first().and_then(|first| first.header);
        let said = self.last_group.map(|last| last.oldest_base);
        said.or(base.map(|header| header.base))
    }

    /// How much of the last segment is known to be on stable storage.
    pub(super) fn stable_in(&self, last: u32) -> u64 {
        let marked = self.mark.and_then(|mark| mark.last);
        let closed = marked.filter(|marked| marked.number == last);
        let known = self.last_group.map_or(0, |group| group.stable);
        known.max(closed.map_or(0, |closed| closed.end))
    }

    /// The mark, if nothing else remains of the log.
    pub(crate) fn mark_alone(&self) -> Option<Mark> {
        self.mark.filter(|_| self.candidates.is_empty())
    }
}

impl Candidate {
    /// The segment, without any live records so far.
    pub(super) fn segment(&self, salt: u64, base: u64) -> io::Result<Segment> {
        let length = self.file.length()?;
        let (file, seal) = (Arc::clone(&self.file), Seal::new(salt, self.number));
        Ok(Segment {
            length,
            ..Segment::new(file, seal, base, self.end.min(length))
        })
    }

    /// The outline after its frames, if there is one.
    pub(super) fn outline(&self, salt: u64) -> Option<Outline> {
        self.header?;
        // An unreadable outline is not needed.
        let seal = Seal::new(salt, self.number);
        let outline = Outline::read(&*self.file, &seal).ok()??;
        (self.end == u64::MAX || self.end == outline.end()).then_some(outline)
    }

    /// Whether nothing was ever written to it.
    pub(crate) fn is_blank(&self) -> io::Result<bool> {
        Ok(is_blank(&*self.file, 4096, 0)? && self.file.length()? <= 4096)
    }

    pub(super) fn scanner(&self, salt: u64) -> io::Result<Scanner<'_>> {
        Scanner::new(&*self.file, Seal::new(salt, self.number), self.end)
    }

    /// The last group in the segment.
    fn last_group(&self, salt: u64) -> io::Result<Option<LastGroup>> {
        let mut last: Option<LastGroup> = None;
        let mut scanner = self.scanner(salt)?;
        let mut offset = SEGMENT_HEADER_BYTES;
        while let Some(found) = scanner.at_or_after(offset)? {
            offset = found.end();
            if found.header.kind == Kind::Group
                && let Some(body) = scanner.body(&found)?.and_then(GroupBody::decode)
            {
                let before = last.map_or(0, |last| last.stable);
                last = Some(LastGroup {
                    salt: body.salt,
                    oldest: body.oldest,
                    oldest_base: body.oldest_base,
                    stable: before.max(body.stable.into()),
                    offset: found.offset,
                });
            }
        }
        Ok(last)
    }
}

/// A file and its first bytes.
type Beginning = (Arc<dyn DiskFile>, Vec<u8>);

/// Opens a file and reads its beginning. `None` if it is not a regular file.
fn beginning(disk: &dyn Disk, name: &str) -> io::Result<Option<Beginning>> {
    if !disk.is_file(name)? {
        return Ok(None);
    }
    let file = disk.open(name)?;
    let mut bytes = Vec::new();
    file.read(&mut bytes, 64, 0)?;
    Ok(Some((file, bytes)))
}

fn sound<T>(disk: &dyn Disk, found: Found<T>) -> Result<Option<T>, StoreError> {
    match found {
        Found::Sound(found) => Ok(Some(found)),
        Found::Damaged => Ok(None),
        Found::OtherVersion(version) => {
            let found = format!("a journal of version {version}");
            Err(StoreError::incompatible(disk.path(), found))
        }
    }
}

/// The salt, which is in the mark, in each segment header and in each group.
fn find_salt(mark: Option<Mark>, candidates: &[Candidate]) -> io::Result<Option<u64>> {
    let mut headers = candidates.iter().rev().filter_map(|one| one.header);
    let known = mark.map(|mark| mark.salt);
    if let Some(salt) = known.or_else(|| headers.next().map(|header| header.salt)) {
        return Ok(Some(salt));
    }
    for candidate in candidates.iter().rev() {
        if let Some(group) = candidate.last_group(0)? {
            return Ok(Some(group.salt));
        }
    }
    Ok(None)
}

/// Ends each segment where its successor says, and removes segments that no later one continues.
fn link(candidates: &mut Vec<Candidate>) -> Vec<u32> {
    let mut follower: Option<Previous> = None;
    for candidate in candidates.iter_mut().rev() {
        if let Some(previous) = follower {
            if candidate.number > previous.number {
                candidate.end = 0;
                continue;
            }
            if candidate.number == previous.number {
                candidate.end = previous.end;
            }
        }
        follower = candidate.header.and_then(|header| header.previous);
    }
    let loose = candidates.extract_if(.., |candidate| candidate.end == 0);
    loose.map(|candidate| candidate.number).collect()
}

/// The last group of the log, taken from the last segment's outline if it has one.
fn find_last_group(candidates: &[Candidate], salt: u64) -> io::Result<Option<LastGroup>> {
    let outline = candidates.last().and_then(|last| last.outline(salt));
    if let Some(outline) = outline
        && let Some((oldest, oldest_base)) = outline.so_far.oldest
    {
        return Ok(Some(LastGroup {
            salt,
            oldest,
            oldest_base,
            stable: outline.end(),
            offset: 0,
        }));
    }
    for (n, candidate) in candidates.iter().rev().enumerate() {
        if let Some(mut group) = candidate.last_group(salt)? {
            if n > 0 {
                // In an earlier segment, everything that counts lies before its end.
                (group.stable, group.offset) = (0, 0);
            }
            return Ok(Some(group));
        }
    }
    Ok(None)
}
