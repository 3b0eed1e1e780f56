//! Translates system calls into their effects on files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::strace::{Argument, Call};
use super::{Action, Change, Event, Image, Inode, NameChange, OperationId, Places};

/// Follows a process through its calls.
#[derive(Debug)]
pub(super) struct Interpreter<'a> {
    places: &'a Places,
    /// The files as the process sees them.
    files: Image,
    descriptors: BTreeMap<i64, usize>,
    open: Vec<Open>,
    reading: &'a Reading,
    next: Next,
    events: Vec<Event>,
}

/// How to read a log that can be read in several ways.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Calls whose effect moves from their start to their return, or the other way round. The order
    /// of calls that change a file's length at the same time is unknown.
    pub(super) moved: BTreeSet<usize>,
}

/// The next unused numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) inode: u64,
    pub(super) operation: u64,
}

/// An open file, shared by duplicated descriptors.
#[derive(Debug)]
struct Open {
    target: Target,
    position: u64,
    appends: bool,
    synchronous: bool,
}

#[derive(Debug, Clone)]
enum Target {
    Inside(Inode),
    Marks,
    Outside(PathBuf),
}

/// The target of a path.
#[derive(Debug)]
enum Place {
    /// A directory named by itself.
    Itself(Inode),
    Entry {
        directory: Inode,
        name: OsString,
    },
    Marks,
    Outside(PathBuf),
}

type Outcome<T> = io::Result<T>;

/// A path of a call, and the descriptor of the directory that it starts from, if it has one.
type At<'a> = (Option<&'a Argument>, &'a Argument);

impl<'a> Interpreter<'a> {
    pub(super) const fn new(
        places: &'a Places,
        files: Image,
        next: Next,
        reading: &'a Reading,
    ) -> Self {
        Self {
            places,
            files,
            descriptors: BTreeMap::new(),
            open: Vec::new(),
            reading,
            next,
            events: Vec::new(),
        }
    }

    /// Returns the events, the files at the end and the next numbers.
    pub(super) fn run(mut self, calls: &[Call]) -> Outcome<(Vec<Event>, Image, Next)> {
        let steps = calls.iter().enumerate().flat_map(|(index, call)| {
            let ended = call.ended.map(|line| (line, 1, index));
            [Some((call.began, 0, index)), ended]
        });
        let mut steps: Vec<_> = steps.flatten().collect();
        steps.sort_unstable();
        let mut operations = BTreeMap::new();
        for (line, end, index) in steps {
            let call = &calls[index];
            let moved = self.reading.moved.contains(&index);
            let (begins, ends) = match (end, moved, call.cuts()) {
                (0, false, _) => (true, false),
                (0, true, cuts) => (cuts, cuts),
                (_, true, true) => (false, false),
                (_, true, false) => (true, true),
                _ => (false, true),
            };
            let mut step = Ok(());
            if begins {
                step = self.begin(call).map(|operation| {
                    operations.extend(operation.map(|id| (index, id)));
                });
            }
            if end == 1 {
                let operation = operations.remove(&index);
                self.events.extend(operation.map(Event::End));
            }
            if let Some(result) = call.result.filter(|result| ends && *result >= 0)
                && step.is_ok()
            {
                step = self.end(call, result);
            }
            step.map_err(|error| {
                let (name, line) = (&call.name, line + 1);
                io::Error::other(format!("cannot follow {name} at line {line}: {error}"))
            })?;
        }
        Ok((self.events, self.files, self.next))
    }

    /// Applies what takes effect, or may, as soon as the call is made.
    fn begin(&mut self, call: &Call) -> Outcome<Option<OperationId>> {
        if call.result.is_some_and(|result| result < 0) {
            return Ok(None);
        }
        let name = call.name.as_str();
        match name {
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.begin_write(call),
            "copy_file_range" => {
                let to = (call.argument(2)?.number(), call.argument(3)?);
                let from = (call.argument(0)?.number(), call.argument(1)?);
                self.begin_copy(call, from, to)
            }
            "sendfile" => {
                let to = (call.argument(0)?.number(), &Argument::default());
                let from = (call.argument(1)?.number(), call.argument(2)?);
                self.begin_copy(call, from, to)
            }
            "fallocate" => self.begin_allocate(call),
            "fsync" => Ok(self
                .file(call)?
                .map(|file| self.emit(Action::SyncAll(file)))),
            "fdatasync" => Ok(self
                .file(call)?
                .map(|file| self.emit(Action::SyncData(file)))),
            "sync" | "syncfs" => Ok(Some(self.emit(Action::SyncSystem))),
            "close" => {
                if let Some(descriptor) = call.argument(0)?.number() {
                    self.descriptors.remove(&descriptor);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Applies what takes effect when the call returns.
    fn end(&mut self, call: &Call, result: i64) -> Outcome<()> {
        match call.name.as_str() {
            "creat" => self.end_open(call.path(0)?, "O_WRONLY|O_CREAT|O_TRUNC", result),
            "open" => self.end_open(call.path(0)?, &call.argument(1)?.word, result),
            "openat" => self.end_open(call.path_at(0)?, &call.argument(2)?.word, result),
            "dup" | "dup2" | "dup3" => self.end_duplicate(call, result),
            "fcntl" if call.argument(1)?.word.starts_with("F_DUPFD") => {
                self.end_duplicate(call, result)
            }
            "ioctl" => self.end_control(call),
            "lseek" => {
                if let Some(open) = self.open_of(call)? {
                    self.open[open].position = unsigned(Some(result))?;
                }
                Ok(())
            }
            "read" | "readv" => {
                if let Some(open) = self.open_of(call)? {
                    self.open[open].position += unsigned(Some(result))?;
                }
                Ok(())
            }
            "ftruncate" => {
                let length = unsigned(call.argument(1)?.number())?;
                if let Some(file) = self.file(call)? {
                    self.cut(file, length);
                }
                Ok(())
            }
            "truncate" => {
                let length = unsigned(call.argument(1)?.number())?;
                if let Some(file) = self.existing(call.path(0)?)? {
                    self.cut(file, length);
                }
                Ok(())
            }
            "mkdir" => self.end_make(call.path(0)?),
            "mkdirat" => self.end_make(call.path_at(0)?),
            "unlink" | "rmdir" => self.end_unlink(call.path(0)?),
            "unlinkat" => self.end_unlink(call.path_at(0)?),
            "rename" => self.end_rename(call.path(0)?, call.path(1)?),
            "renameat" | "renameat2" => {
                let flags = call.arguments.get(4).map_or("0", |flags| &*flags.word);
                if flags != "0" && flags != "RENAME_NOREPLACE" {
                    return Err(unsupported(flags));
                }
                self.end_rename(call.path_at(0)?, call.path_at(2)?)
            }
            "link" => self.end_link(call.path(0)?, call.path(1)?),
            "linkat" => self.end_link(call.path_at(0)?, call.path_at(2)?),
            "symlink" => self.refuse_inside(call.path(1)?),
            "symlinkat" => self.refuse_inside(call.path_at(1)?),
            "mmap" => self.refuse_shared_mapping(call),
            "splice" => self.refuse_descriptor(call.argument(2)?),
            "openat2" | "close_range" | "chdir" | "fchdir" | "io_uring_setup" | "io_setup" => {
                Err(unsupported(&call.name))
            }
            _ => Ok(()),
        }
    }

    fn begin_write(&mut self, call: &Call) -> Outcome<Option<OperationId>> {
        let Some(open) = self.open_of(call)? else {
            return Ok(None);
        };
        let bytes = &call.argument(1)?.bytes;
        let written = match call.result {
            Some(result) => usize::try_from(result).map_err(io::Error::other)?,
            None => bytes.len(),
        };
        let data = bytes
            .get(..written)
            .ok_or_else(|| io::Error::other("the log does not hold all that was written"))?;
        if let Target::Marks = self.open[open].target {
            let text = String::from_utf8_lossy(data);
            let marks = text.lines().map(|line| Event::Mark(line.to_owned()));
            self.events.extend(marks);
            return Ok(None);
        }
        let Target::Inside(file) = self.open[open].target else {
            return Ok(None);
        };
        let at = match call.name.as_str() {
            "write" | "writev" => None,
            _ => call.argument(3)?.number().filter(|offset| *offset >= 0),
        };
        let flags = match call.name.as_str() {
            "pwritev2" => call.arguments.get(4).map_or("", |flags| &*flags.word),
            _ => "",
        };
        let synchronous = self.open[open].synchronous || flags.contains("SYNC");
        let offset = match at {
            _ if self.open[open].appends || flags.contains("RWF_APPEND") => self.files.length(file),
            Some(offset) => unsigned(Some(offset))?,
            None => self.open[open].position,
        };
        if at.is_none() {
            self.open[open].position = offset + data.len() as u64;
        }
        self.write(file, offset, Bytes::copy_from_slice(data), synchronous)
            .map(Some)
    }

    fn begin_copy(
        &mut self,
        call: &Call,
        from: (Option<i64>, &Argument),
        to: (Option<i64>, &Argument),
    ) -> Outcome<Option<OperationId>> {
        let Some(to_open) = self.of_descriptor(to.0) else {
            return Ok(None);
        };
        let Target::Inside(file) = self.open[to_open].target else {
            return Ok(None);
        };
        let from_open = self
            .of_descriptor(from.0)
            .ok_or_else(|| unsupported("a copy from outside"))?;
        let Target::Inside(source) = self.open[from_open].target else {
            return Err(unsupported("a copy from outside"));
        };
        let count = call
            .result
            .ok_or_else(|| unsupported("a copy that never ended"))?;
        let count = unsigned(Some(count))?;
        let read_at = self.offset_of(from_open, from.1, count)?;
        let write_at = self.offset_of(to_open, to.1, count)?;
        let (start, end) = (to_usize(read_at)?, to_usize(read_at + count)?);
        let content = self.files.content(source).get(start..end);
        let data =
            content.ok_or_else(|| io::Error::other("more was copied than the file holds"))?;
        let data = Bytes::copy_from_slice(data);
        if data.is_empty() {
            return Ok(None);
        }
        let synchronous = self.open[to_open].synchronous;
        self.write(file, write_at, data, synchronous).map(Some)
    }

    /// The given offset, or the position, which then advances.
    fn offset_of(&mut self, open: usize, given: &Argument, count: u64) -> Outcome<u64> {
        let text = given.word.trim_matches(['[', ']']);
        if text.is_empty() || text == "NULL" {
            let position = self.open[open].position;
            self.open[open].position += count;
            return Ok(position);
        }
        // In "[before] => [after]", the first counts.
        let text = text.split(['=', ']', ' ']).next().unwrap_or(text);
        unsigned(text.parse().ok())
    }

    fn begin_allocate(&mut self, call: &Call) -> Outcome<Option<OperationId>> {
        let Some(file) = self.file(call)? else {
            return Ok(None);
        };
        match call.argument(1)?.word.as_str() {
            "FALLOC_FL_KEEP_SIZE" => Ok(None),
            "0" => {
                let end = call.argument(2)?.number().zip(call.argument(3)?.number());
                let end = unsigned(end.map(|(offset, length)| offset + length))?;
                Ok((end > self.files.length(file)).then(|| self.set_length(file, end)))
            }
            mode => Err(unsupported(mode)),
        }
    }

    fn end_open(&mut self, at: At<'_>, flags: &str, descriptor: i64) -> Outcome<()> {
        let has = |wanted: &str| flags.split('|').any(|flag| flag == wanted);
        let target = match self.resolve(at)? {
            Place::Marks => Target::Marks,
            Place::Outside(path) => Target::Outside(path),
            Place::Itself(directory) => Target::Inside(directory),
            Place::Entry { .. } if has("O_TMPFILE") => return Err(unsupported("O_TMPFILE")),
            Place::Entry { directory, name } => match self.files.lookup(directory, &name) {
                Some(file) => {
                    if has("O_TRUNC") && self.files.length(file) > 0 {
                        self.cut(file, 0);
                    }
                    Target::Inside(file)
                }
                None if has("O_CREAT") => Target::Inside(self.create(directory, name, false)),
                None => return Err(io::Error::other("the file was not known to be there")),
            },
        };
        self.open.push(Open {
            target,
            position: 0,
            appends: has("O_APPEND"),
            synchronous: has("O_SYNC") || has("O_DSYNC"),
        });
        self.descriptors.insert(descriptor, self.open.len() - 1);
        Ok(())
    }

    fn end_control(&mut self, call: &Call) -> Outcome<()> {
        if self.file(call)?.is_none() {
            return Ok(());
        }
        match call.argument(1)?.word.as_str() {
            "FICLONE" | "FICLONERANGE" | "FIDEDUPERANGE" | "FS_IOC_FSSETXATTR" => {
                Err(unsupported(&call.argument(1)?.word))
            }
            _ => Ok(()),
        }
    }

    fn end_duplicate(&mut self, call: &Call, descriptor: i64) -> Outcome<()> {
        match self.open_of(call)? {
            Some(open) => self.descriptors.insert(descriptor, open),
            None => self.descriptors.remove(&descriptor),
        };
        Ok(())
    }

    fn end_make(&mut self, at: At<'_>) -> Outcome<()> {
        if let Place::Entry { directory, name } = self.resolve(at)? {
            self.create(directory, name, true);
        }
        Ok(())
    }

    fn end_unlink(&mut self, at: At<'_>) -> Outcome<()> {
        if let Place::Entry { directory, name } = self.resolve(at)? {
            self.rename(vec![change(directory, name, None)]);
        }
        Ok(())
    }

    fn end_rename(&mut self, from: At<'_>, to: At<'_>) -> Outcome<()> {
        let target = self.existing(from)?;
        match (self.resolve(from)?, self.resolve(to)?) {
            (Place::Outside(_), Place::Outside(_)) => {}
            (
                Place::Entry { directory, name },
                Place::Entry {
                    directory: to_directory,
                    name: to_name,
                },
            ) => {
                let taken = change(directory, name, None);
                self.rename(vec![taken, change(to_directory, to_name, target)]);
            }
            _ => return Err(unsupported("a rename across the border")),
        }
        Ok(())
    }

    fn end_link(&mut self, from: At<'_>, to: At<'_>) -> Outcome<()> {
        match (self.existing(from)?, self.resolve(to)?) {
            (None, Place::Outside(_)) => {}
            (target @ Some(_), Place::Entry { directory, name }) => {
                self.rename(vec![change(directory, name, target)]);
            }
            _ => return Err(unsupported("a link across the border")),
        }
        Ok(())
    }

    fn refuse_inside(&mut self, at: At<'_>) -> Outcome<()> {
        match self.resolve(at)? {
            Place::Outside(_) => Ok(()),
            _ => Err(unsupported("a symbolic link")),
        }
    }

    fn refuse_shared_mapping(&mut self, call: &Call) -> Outcome<()> {
        let writes = call.argument(2)?.word.contains("PROT_WRITE");
        let shared = call.argument(3)?.word.contains("MAP_SHARED");
        if writes && shared {
            self.refuse_descriptor(call.argument(4)?)?;
        }
        Ok(())
    }

    fn refuse_descriptor(&mut self, descriptor: &Argument) -> Outcome<()> {
        let open = self.of_descriptor(descriptor.number());
        match open.map(|open| &self.open[open].target) {
            Some(Target::Inside(_)) => Err(unsupported("what is done to this descriptor")),
            _ => Ok(()),
        }
    }

    fn open_of(&self, call: &Call) -> Outcome<Option<usize>> {
        Ok(self.of_descriptor(call.argument(0)?.number()))
    }

    fn of_descriptor(&self, descriptor: Option<i64>) -> Option<usize> {
        self.descriptors.get(&descriptor?).copied()
    }

    /// The file of the first argument, if it is inside the arena.
    fn file(&self, call: &Call) -> Outcome<Option<Inode>> {
        let open = self.open_of(call)?;
        Ok(match open.map(|open| &self.open[open].target) {
            Some(Target::Inside(file)) => Some(*file),
            _ => None,
        })
    }

    fn existing(&self, at: At<'_>) -> Outcome<Option<Inode>> {
        Ok(match self.resolve(at)? {
            Place::Entry { directory, name } => self.files.lookup(directory, &name),
            _ => None,
        })
    }

    fn resolve(&self, (base, path): At<'_>) -> Outcome<Place> {
        let path = Path::new(OsStr::from_bytes(&path.bytes));
        let base = base.and_then(|base| self.of_descriptor(base.number()));
        let base = base.map(|open| &self.open[open].target);
        match base {
            Some(Target::Inside(directory)) if path.is_relative() => self.walk(*directory, path),
            Some(Target::Outside(outside)) => self.resolve_absolute(&outside.join(path)),
            _ => self.resolve_absolute(&self.places.working_directory().join(path)),
        }
    }

    fn resolve_absolute(&self, path: &Path) -> Outcome<Place> {
        if path == self.places.marks() {
            return Ok(Place::Marks);
        }
        match path.strip_prefix(self.places.arena()) {
            Ok(inside) => self.walk(Image::ROOT, inside),
            Err(_) => Ok(Place::Outside(path.to_owned())),
        }
    }

    fn walk(&self, from: Inode, path: &Path) -> Outcome<Place> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(unsupported("a path with \"..\"")),
            }
        }
        let Some((last, parents)) = names.split_last() else {
            return Ok(Place::Itself(from));
        };
        let mut directory = from;
        for name in parents {
            let next = self.files.lookup(directory, name);
            directory = next
                .filter(|inode| self.files.is_directory(*inode))
                .ok_or_else(|| {
                    io::Error::other(format!("no such directory: {}", path.display()))
                })?;
        }
        Ok(Place::Entry {
            directory,
            name: (*last).to_owned(),
        })
    }

    /// Creates an empty file or directory of this name.
    fn create(&mut self, directory: Inode, name: OsString, is_directory: bool) -> Inode {
        let inode = Inode(self.next.inode);
        self.next.inode += 1;
        self.files.insert_new(inode, is_directory);
        self.events.push(Event::Created {
            inode,
            is_directory,
        });
        self.rename(vec![change(directory, name, Some(inode))]);
        inode
    }

    fn write(
        &mut self,
        file: Inode,
        offset: u64,
        data: Bytes,
        synchronous: bool,
    ) -> Outcome<OperationId> {
        let before = self.files.length(file);
        self.files.write(file, to_usize(offset)?, &data);
        Ok(self.emit(Action::Change(Change::Write {
            file,
            offset,
            extends: offset + data.len() as u64 > before,
            data,
            synchronous,
        })))
    }

    fn set_length(&mut self, file: Inode, length: u64) -> OperationId {
        self.files
            .set_length(file, usize::try_from(length).unwrap_or(usize::MAX));
        self.emit(Action::Change(Change::SetLength { file, length }))
    }

    /// Changes a length in a call that has returned.
    fn cut(&mut self, file: Inode, length: u64) {
        let id = self.set_length(file, length);
        self.events.push(Event::End(id));
    }

    fn rename(&mut self, changes: Vec<NameChange>) {
        for change in &changes {
            self.files
                .set_name(change.directory, &change.name, change.target);
        }
        let id = self.emit(Action::Change(Change::Rename(changes)));
        self.events.push(Event::End(id));
    }

    fn emit(&mut self, action: Action) -> OperationId {
        let id = OperationId(self.next.operation);
        self.next.operation += 1;
        self.events.push(Event::Begin(id, action));
        id
    }
}

fn change(directory: Inode, name: OsString, target: Option<Inode>) -> NameChange {
    NameChange {
        directory,
        name,
        target,
    }
}

/// The calls whose order is unknown: a file is truncated while another call that lengthens or
/// truncates it is in progress.
pub(super) fn ambiguous(calls: &[Call]) -> Vec<usize> {
    let file = |call: &Call| call.arguments.first().map(|file| file.word.clone());
    let changes_length = |call: &Call| call.cuts() || call.name.contains("write");
    let mut found = BTreeSet::new();
    let cuts = calls.iter().enumerate().filter(|(_, call)| call.cuts());
    for (at, cut) in cuts {
        let Some(ended) = cut.ended else {
            continue;
        };
        for (other, call) in calls.iter().enumerate() {
            let overlaps = call.began < ended && call.ended.is_some_and(|ended| cut.began < ended);
            if other != at && overlaps && changes_length(call) && file(call) == file(cut) {
                found.extend([at, other]);
            }
        }
    }
    found.into_iter().collect()
}

impl Call {
    /// The path in this argument.
    fn path(&self, index: usize) -> Outcome<At<'_>> {
        Ok((None, self.argument(index)?))
    }

    /// The directory in this argument, and the path in the next.
    fn path_at(&self, index: usize) -> Outcome<At<'_>> {
        Ok((Some(self.argument(index)?), self.argument(index + 1)?))
    }

    fn cuts(&self) -> bool {
        self.name == "ftruncate" || self.name == "truncate"
    }

    fn argument(&self, index: usize) -> Outcome<&Argument> {
        self.arguments
            .get(index)
            .ok_or_else(|| io::Error::other("an argument is missing"))
    }
}

fn unsigned(number: Option<i64>) -> Outcome<u64> {
    let number = number.ok_or_else(|| io::Error::other("a number is missing"))?;
    u64::try_from(number).map_err(io::Error::other)
}

fn to_usize(number: u64) -> Outcome<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

fn unsupported(what: &str) -> io::Error {
    io::Error::other(format!("this is not modelled: {what}"))
}
