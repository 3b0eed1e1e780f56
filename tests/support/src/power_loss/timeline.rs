//! The history of a directory, across process ends and power losses.

use std::io;
use std::path::{Path, PathBuf};

use super::interpret::{Interpreter, Next, Reading, ambiguous};
use super::{Calls, Disk, Event, Image, Places, Rules};

/// Limit on the calls of unknown order to move, alone and in pairs.
const AMBIGUOUS: usize = 24;

/// Everything that happened to the files of an arena, from a given start.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Image,
    events: Vec<Event>,
    /// The files as a process sees them at the end.
    files: Image,
    next: Next,
}

impl Timeline {
    /// Starts with these files on stable storage and no events.
    #[must_use]
    pub fn starting_from(start: Image) -> Self {
        Self {
            next: Next {
                inode: start.highest_inode().0 + 1,
                operation: 0,
            },
            files: start.clone(),
            start,
            events: Vec::new(),
        }
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds the calls of a process that started with the current files.
    ///
    /// # Errors
    /// If the process changed its files in a way that is not modelled.
    pub fn record(&mut self, calls: &Calls, places: &Places) -> io::Result<()> {
        *self = self.after(calls, places, &Reading::default())?;
        Ok(())
    }

    /// Adds the calls of a process that started with the current files and left the arena as it is
    /// now.
    ///
    /// The log does not give the order of calls made at the same time. Where the order matters, one
    /// is chosen that explains the files.
    ///
    /// # Errors
    /// If the process changed its files in a way that is not modelled, if the arena cannot be read,
    /// or if the calls do not explain its files. The error names the files that differ.
    pub fn record_all(&mut self, calls: &Calls, places: &Places) -> io::Result<()> {
        self.record_until(calls, places, &Image::read_from(places.arena())?)
    }

    pub(super) fn record_until(
        &mut self,
        calls: &Calls,
        places: &Places,
        found: &Image,
    ) -> io::Result<()> {
        let ambiguous = ambiguous(calls.list());
        let ambiguous = &ambiguous[..ambiguous.len().min(AMBIGUOUS)];
        let single = ambiguous.iter().map(|call| vec![*call]);
        let pairs = ambiguous.iter().enumerate().flat_map(|(at, call)| {
            let others = ambiguous[at + 1..].iter();
            others.map(move |other| vec![*call, *other])
        });
        let mut differing = None;
        for moved in std::iter::once(Vec::new()).chain(single).chain(pairs) {
            let mut reading = Reading::default();
            reading.moved.extend(moved);
            // An impossible order explains nothing.
            let after = match self.after(calls, places, &reading) {
                Err(_) if !reading.moved.is_empty() => continue,
                after => after?,
            };
            let differs = found.differences(&after.files);
            if differs.is_empty() {
                *self = after;
                return Ok(());
            }
            differing.get_or_insert(differs);
        }
        Err(unexplained(&differing.unwrap_or_default()))
    }

    /// Checks that the files of a directory are those that the events lead to.
    ///
    /// # Errors
    /// If the directory cannot be read or its files differ. The error names the files that differ.
    pub fn must_end_with(&self, arena: &Path) -> io::Result<()> {
        let differing = Image::read_from(arena)?.differences(&self.files);
        if differing.is_empty() {
            return Ok(());
        }
        Err(unexplained(&differing))
    }

    /// The disk at the moment before this event.
    #[must_use]
    pub fn disk_at(&self, moment: usize, rules: Rules) -> Disk {
        let mut disk = Disk::new(rules, self.start.clone());
        for event in self.events.iter().take(moment) {
            disk.advance(event);
        }
        disk
    }

    /// The same history, ended at this moment by the death of the process.
    #[must_use]
    pub fn killed_at(&self, moment: usize) -> Self {
        let files = self.disk_at(moment, Rules::Strict).volatile();
        self.ended_at(moment, Event::Killed, files)
    }

    /// The same history, ended at this moment by a power loss that left these files.
    #[must_use]
    pub fn power_lost_at(&self, moment: usize, left: Image) -> Self {
        self.ended_at(moment, Event::PowerLost(left.clone()), left)
    }

    /// The files that a new process finds.
    #[must_use]
    pub const fn files(&self) -> &Image {
        &self.files
    }

    fn after(&self, calls: &Calls, places: &Places, reading: &Reading) -> io::Result<Self> {
        let interpreter = Interpreter::new(places, self.files.clone(), self.next, reading);
        let (events, files, next) = interpreter.run(calls.list())?;
        let mut after = self.clone();
        after.events.extend(events);
        after.files = files;
        after.next = next;
        Ok(after)
    }

    fn ended_at(&self, moment: usize, end: Event, files: Image) -> Self {
        let events = self.events.iter().take(moment).cloned();
        Self {
            start: self.start.clone(),
            events: events.chain([end]).collect(),
            files,
            next: self.next,
        }
    }
}

fn unexplained(files: &[PathBuf]) -> io::Error {
    io::Error::other(format!(
        "the trace does not explain what is in these files: {files:?}"
    ))
}
