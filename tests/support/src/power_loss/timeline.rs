//! The story of a directory, across the ends of processes and losses of power.

use std::io;
use std::path::{Path, PathBuf};

use super::interpret::{Interpreter, Next, Reading, ambiguous};
use super::{Calls, Disk, Event, Image, Places, Rules};

/// Calls whose order is tried, at most: each pair of them.
const AMBIGUOUS: usize = 24;

/// All that happened to the files of an arena, from a given beginning.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Image,
    events: Vec<Event>,
    /// The files as a process sees them after all this.
    files: Image,
    next: Next,
}

impl Timeline {
    /// Nothing has happened yet, and these files are on stable storage.
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

    /// What happened so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds what a process did that began with the files as they are now.
    ///
    /// # Errors
    /// When the process did something to its files that is not modelled.
    pub fn record(&mut self, calls: &Calls, places: &Places) -> io::Result<()> {
        *self = self.after(calls, places, &Reading::default())?;
        Ok(())
    }

    /// Adds what a process did that began with the files as they are now, and left the arena
    /// as it is now.
    ///
    /// The log does not say which of two calls came first that were made at the same time;
    /// where that matters, it is read so that it explains what is there.
    ///
    /// # Errors
    /// When the process did something to its files that is not modelled, when the arena
    /// cannot be read, and when the calls do not explain what is in it, naming the files.
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
            // An order in which they cannot have been is no explanation.
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

    /// Whether the files of a directory are those that the events lead to.
    ///
    /// # Errors
    /// When the directory cannot be read, and when the files differ, naming them.
    pub fn must_end_with(&self, arena: &Path) -> io::Result<()> {
        let differing = Image::read_from(arena)?.differences(&self.files);
        if differing.is_empty() {
            return Ok(());
        }
        Err(unexplained(&differing))
    }

    /// The disk at the moment before the event of this number.
    #[must_use]
    pub fn disk_at(&self, moment: usize, rules: Rules) -> Disk {
        let mut disk = Disk::new(rules, self.start.clone());
        for event in self.events.iter().take(moment) {
            disk.advance(event);
        }
        disk
    }

    /// The same story, except that the process was killed at this moment.
    #[must_use]
    pub fn killed_at(&self, moment: usize) -> Self {
        let files = self.disk_at(moment, Rules::Strict).volatile();
        self.ended_at(moment, Event::Killed, files)
    }

    /// The same story, except that the power was lost at this moment and left this.
    #[must_use]
    pub fn power_lost_at(&self, moment: usize, left: Image) -> Self {
        self.ended_at(moment, Event::PowerLost(left.clone()), left)
    }

    /// The files as a process finds them that begins now.
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
