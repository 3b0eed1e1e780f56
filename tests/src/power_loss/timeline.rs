//! The story of a directory, across the ends of processes and losses of power.

use std::io;
use std::path::Path;

use super::interpret::{Interpreter, Next};
use super::{Calls, Disk, Event, Image, Places, Rules};

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
        let interpreter = Interpreter::new(places, self.files.clone(), self.next);
        let (events, files, next) = interpreter.run(calls.list())?;
        self.events.extend(events);
        self.files = files;
        self.next = next;
        Ok(())
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
        Err(io::Error::other(format!(
            "the trace does not explain what is in these files: {differing:?}"
        )))
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
