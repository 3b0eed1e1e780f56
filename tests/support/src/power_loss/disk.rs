//! The data on stable storage, and the changes that may get there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::{Action, Change, Event, Image, Inode, NameChange, OperationId};

/// A disk writes this many bytes whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// When names and lengths become durable, and in what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Only what is synced: a name by `fsync` of its directory, a length by a sync of its file.
    /// Changes of one directory, or of one file's length, arrive in order. Changes of different
    /// ones are independent.
    Strict,
    /// One journal for all names and lengths, as in ext4. They arrive in order, and a sync that
    /// commits anything commits everything done before.
    Journal,
}

/// The fate of a pending change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The change reached the disk.
    Kept,
    /// The change is lost.
    Dropped,
    /// These sectors of a write are there. A change of names or lengths is there in full.
    Torn(Vec<bool>),
    /// The file has its new length, but not the bytes.
    OnlyLength,
}

/// A change that is not durable yet.
#[derive(Debug, Clone)]
pub struct Pending {
    id: OperationId,
    change: Change,
    ended: bool,
}

/// A disk at one moment of a timeline.
#[derive(Debug, Clone)]
pub struct Disk {
    rules: Rules,
    durable: Image,
    pending: Vec<Pending>,
    /// The changes that each running sync will make durable.
    syncs: BTreeMap<OperationId, BTreeSet<OperationId>>,
}

impl Pending {
    /// The number of sectors that a write touches. `None` for other changes.
    #[must_use]
    pub fn sectors(&self) -> Option<usize> {
        match &self.change {
            Change::Write { offset, data, .. } => Some(sectors(*offset, data.len()).count()),
            _ => None,
        }
    }

    /// The sector of the file in which a write begins.
    #[must_use]
    pub fn first_sector(&self) -> Option<u64> {
        match &self.change {
            Change::Write { offset, .. } => Some(offset / SECTOR),
            _ => None,
        }
    }

    /// The file of a write or a change of length.
    #[must_use]
    pub fn file(&self) -> Option<Inode> {
        match &self.change {
            Change::Write { file, .. } | Change::SetLength { file, .. } => Some(*file),
            Change::Rename(_) => None,
        }
    }

    /// The changes of names.
    fn renames(&self) -> &[NameChange] {
        match &self.change {
            Change::Rename(changes) => changes,
            _ => &[],
        }
    }

    fn names(&self, inode: Inode) -> bool {
        let mut changes = self.renames().iter();
        changes.any(|change| change.target == Some(inode) || change.directory == inode)
    }

    /// This byte range of a write, unless it is empty.
    fn part(&self, from: u64, to: u64) -> Option<Self> {
        match &self.change {
            Change::Write {
                file,
                offset,
                data,
                extends,
                synchronous,
            } if from < to => {
                let range = index_of(from - offset)..index_of(to - offset);
                let change = Change::Write {
                    file: *file,
                    offset: from,
                    data: data.slice(range),
                    extends: *extends,
                    synchronous: *synchronous,
                };
                Some(Self { change, ..*self })
            }
            _ => None,
        }
    }

    const fn is_metadata(&self) -> bool {
        matches!(self.change, Change::Rename(_) | Change::SetLength { .. })
    }
}

impl Disk {
    /// A disk that holds exactly these files.
    #[must_use]
    pub const fn new(rules: Rules, files: Image) -> Self {
        Self {
            rules,
            durable: files,
            pending: Vec::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// The changes that are not durable yet, in the order they were made.
    #[must_use]
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// Advances by one step.
    pub fn advance(&mut self, event: &Event) {
        match event {
            Event::Created {
                inode,
                is_directory,
            } => self.durable.insert_new(*inode, *is_directory),
            Event::Begin(id, action) => self.begin(*id, action),
            Event::End(id) => self.end(*id),
            Event::Mark(_) => {}
            Event::Killed => {
                self.syncs.clear();
                for pending in &mut self.pending {
                    pending.ended = true;
                }
            }
            Event::PowerLost(left) => *self = Self::new(self.rules, left.clone()),
        }
    }

    /// The files left by a power loss at this moment, with the fates of the pending changes in
    /// order. Changes without a fate are dropped.
    ///
    /// Impossible fates are corrected: a change that depends on a dropped one is dropped too.
    #[must_use]
    pub fn image(&self, fates: &[Fate]) -> Image {
        let mut left = Aftermath {
            rules: self.rules,
            image: self.durable.clone(),
            cut: Cut::default(),
        };
        for (pending, fate) in self.pending_with(fates) {
            left.apply(&pending.change, fate);
        }
        left.image.forget_unnamed(|_| false);
        left.image
    }

    /// The files as a process sees them.
    #[must_use]
    pub fn volatile(&self) -> Image {
        self.image(&vec![Fate::Kept; self.pending.len()])
    }

    /// Describes the pending changes, each with its fate.
    #[must_use]
    pub fn describe(&self, fates: &[Fate]) -> Vec<String> {
        let mut paths = self.durable.paths();
        let mut seen = self.durable.clone();
        for pending in &self.pending {
            for change in pending.renames() {
                seen.set_name(change.directory, &change.name, change.target);
            }
            for (inode, path) in seen.paths() {
                paths.entry(inode).or_insert(path);
            }
        }
        let described = self.pending_with(fates).map(|(pending, fate)| {
            let change = pending.change.describe(&paths);
            let under_way = if pending.ended { "" } else { " (under way)" };
            format!("{fate}: {change}{under_way}")
        });
        described.collect()
    }

    /// The pending changes, each with its fate. Those without one are dropped.
    fn pending_with<'a>(
        &'a self,
        fates: &'a [Fate],
    ) -> impl Iterator<Item = (&'a Pending, &'a Fate)> {
        let fates = fates.iter().chain(std::iter::repeat(&Fate::Dropped));
        self.pending.iter().zip(fates)
    }

    fn begin(&mut self, id: OperationId, action: &Action) {
        match action {
            Action::Change(change) => {
                if let Change::Write {
                    file,
                    extends,
                    synchronous: true,
                    ..
                } = change
                {
                    let covered = self.lengths_before(*file, *extends).chain([id]);
                    let covered = covered.collect();
                    self.syncs.insert(id, covered);
                }
                self.pending.push(Pending {
                    id,
                    change: change.clone(),
                    ended: false,
                });
            }
            Action::SyncData(inode) => self.begin_sync(id, *inode, false),
            Action::SyncAll(inode) => self.begin_sync(id, *inode, true),
            Action::SyncSystem => {
                let all = self.pending.iter().filter(|pending| pending.ended);
                let all = all.map(|pending| pending.id).collect();
                self.syncs.insert(id, all);
            }
        }
    }

    /// The changes that must become durable before a synchronous write, besides those it
    /// overwrites: earlier lengths of its file and, with a journal, everything before a new length.
    fn lengths_before(&self, file: Inode, extends: bool) -> impl Iterator<Item = OperationId> {
        let commits = self.rules == Rules::Journal && extends;
        self.pending
            .iter()
            .filter(move |pending| {
                let length = matches!(pending.change, Change::SetLength { .. });
                pending.ended
                    && (commits && pending.is_metadata() || length && pending.file() == Some(file))
            })
            .map(|pending| pending.id)
    }

    /// A sync covers the calls that had returned when it started.
    fn begin_sync(&mut self, id: OperationId, inode: Inode, all: bool) {
        let ended = || self.pending.iter().filter(|pending| pending.ended);
        let mut covered: BTreeSet<OperationId> = ended()
            .filter(|pending| pending.file() == Some(inode))
            .map(|pending| pending.id)
            .collect();
        if self.durable.is_directory(inode) {
            covered.extend(self.names_below(inode));
        }
        let commits = ended().any(|pending| match &pending.change {
            Change::Write { file, extends, .. } => *file == inode && (all || *extends),
            Change::SetLength { file, .. } => *file == inode,
            Change::Rename(_) => all && pending.names(inode),
        });
        if self.rules == Rules::Journal && commits {
            let metadata = ended().filter(|pending| pending.is_metadata());
            covered.extend(metadata.map(|pending| pending.id));
        }
        self.syncs.insert(id, covered);
    }

    /// The name changes in a directory and all they depend on: a rename from another directory
    /// needs the earlier changes there.
    fn names_below(&self, directory: Inode) -> BTreeSet<OperationId> {
        let mut directories = BTreeSet::from([directory]);
        let mut found = BTreeSet::new();
        for pending in self.pending.iter().rev().filter(|pending| pending.ended) {
            let changed = pending.renames().iter().map(|change| change.directory);
            if changed
                .clone()
                .any(|changed| directories.contains(&changed))
            {
                directories.extend(changed);
                found.insert(pending.id);
            }
        }
        found
    }

    fn end(&mut self, id: OperationId) {
        for pending in &mut self.pending {
            pending.ended |= pending.id == id;
        }
        let Some(covered) = self.syncs.remove(&id) else {
            return;
        };
        let mut names_changed = false;
        let pending = std::mem::take(&mut self.pending);
        for pending in pending {
            if covered.contains(&pending.id) {
                names_changed |= matches!(pending.change, Change::Rename(_));
                self.overtake(&pending.change);
                make(&mut self.durable, &pending.change);
            } else {
                self.pending.push(pending);
            }
        }
        if names_changed {
            let pending = &self.pending;
            let named = |inode| pending.iter().any(|pending| pending.names(inode));
            let written = |inode| pending.iter().any(|pending| pending.file() == Some(inode));
            self.durable
                .forget_unnamed(|inode| named(inode) || written(inode));
        }
    }

    /// Keeps earlier pending changes from undoing one that becomes durable. Its sectors include
    /// their data, and what it cuts off is gone from them.
    fn overtake(&mut self, change: &Change) {
        let earlier = std::mem::take(&mut self.pending);
        for pending in earlier {
            let Change::Write {
                file, offset, data, ..
            } = &pending.change
            else {
                self.pending.push(pending);
                continue;
            };
            let end = offset + data.len() as u64;
            let (from, to) = match change {
                Change::Write {
                    file: same,
                    offset,
                    data,
                    ..
                } if same == file => {
                    let touched = sectors(*offset, data.len());
                    (touched.start * SECTOR, touched.end * SECTOR)
                }
                Change::SetLength { file: same, length } if same == file => (*length, u64::MAX),
                _ => (end, end),
            };
            let (from, to) = (from.clamp(*offset, end), to.clamp(*offset, end));
            if from >= to {
                self.pending.push(pending);
                continue;
            }
            let within = pending.part(from, to);
            if let (Change::Write { .. }, Some(within)) = (change, within) {
                make(&mut self.durable, &within.change);
            }
            let left = [pending.part(*offset, from), pending.part(to, end)];
            self.pending.extend(left.into_iter().flatten());
        }
    }
}

/// The files after a power loss, while they are computed.
#[derive(Debug)]
struct Aftermath {
    rules: Rules,
    image: Image,
    cut: Cut,
}

/// What later changes can no longer reach because an earlier one is missing.
#[derive(Debug, Default)]
struct Cut {
    sectors: BTreeSet<(Inode, u64)>,
    /// The first byte that cannot be used, because the space there was never freed.
    lengths: BTreeMap<Inode, u64>,
    directories: BTreeSet<Inode>,
    journal: bool,
}

impl Aftermath {
    fn apply(&mut self, change: &Change, fate: &Fate) {
        match change {
            Change::Write {
                file, offset, data, ..
            } => self.write(*file, *offset, data, fate),
            Change::SetLength { file, length } => {
                let cut = self.cut.journal || self.cut.lengths.contains_key(file);
                if *fate == Fate::Dropped || cut {
                    self.cut.journal |= self.rules == Rules::Journal;
                    let shrinks = *length < self.image.length(*file);
                    let unreachable = if shrinks { *length } else { u64::MAX };
                    let cut = self.cut.lengths.entry(*file).or_insert(u64::MAX);
                    *cut = unreachable.min(*cut);
                } else {
                    make(&mut self.image, change);
                }
            }
            Change::Rename(changes) => {
                let directories = changes.iter().map(|change| change.directory);
                let cut = self.cut.journal
                    || directories
                        .clone()
                        .any(|directory| self.cut.directories.contains(&directory));
                if *fate == Fate::Dropped || cut {
                    match self.rules {
                        Rules::Journal => self.cut.journal = true,
                        Rules::Strict => self.cut.directories.extend(directories),
                    }
                } else {
                    make(&mut self.image, change);
                }
            }
        }
    }

    fn write(&mut self, file: Inode, offset: u64, data: &[u8], fate: &Fate) {
        let end = offset + data.len() as u64;
        let mut length = self.image.length(file);
        for (index, sector) in sectors(offset, data.len()).enumerate() {
            let from = offset.max(sector * SECTOR);
            let to = end.min((sector + 1) * SECTOR);
            let kept = match fate {
                Fate::Kept => true,
                Fate::Dropped | Fate::OnlyLength => false,
                Fate::Torn(sectors) => sectors.get(index).copied().unwrap_or(false),
            };
            let reachable = !self.cut.sectors.contains(&(file, sector))
                && self.cut.lengths.get(&file).is_none_or(|cut| to <= *cut);
            if kept && reachable {
                let piece = &data[index_of(from - offset)..index_of(to - offset)];
                self.image.write(file, index_of(from), piece);
                length = length.max(to);
            } else {
                self.cut.sectors.insert((file, sector));
            }
        }
        if *fate == Fate::OnlyLength && !self.cut.lengths.contains_key(&file) {
            length = length.max(end);
        }
        if length > self.image.length(file) {
            self.image.set_length(file, index_of(length));
        }
    }
}

impl Change {
    fn describe(&self, paths: &BTreeMap<Inode, PathBuf>) -> String {
        let path = |inode: &Inode| {
            paths.get(inode).map_or_else(
                || format!("<unnamed {}>", inode.0),
                |path| path.display().to_string(),
            )
        };
        match self {
            Self::Write {
                file, offset, data, ..
            } => {
                let end = offset + data.len() as u64;
                format!("write {} [{offset}..{end})", path(file))
            }
            Self::SetLength { file, length } => format!("set length of {} to {length}", path(file)),
            Self::Rename(changes) => {
                let described = changes.iter().map(|change| {
                    let name = change.name.display();
                    let directory = path(&change.directory);
                    match &change.target {
                        Some(target) => format!("name {directory}/{name} = #{}", target.0),
                        None => format!("remove name {directory}/{name}"),
                    }
                });
                described.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("kept"),
            Self::Dropped => f.write_str("dropped"),
            Self::OnlyLength => f.write_str("only its length"),
            Self::Torn(sectors) => {
                let kept = sectors.iter().filter(|kept| **kept).count();
                write!(f, "{kept} of {} sectors", sectors.len())?;
                if sectors.len() <= 64 {
                    let mask = sectors.iter().map(|kept| if *kept { '#' } else { '.' });
                    write!(f, " {}", mask.collect::<String>())?;
                }
                Ok(())
            }
        }
    }
}

fn make(image: &mut Image, change: &Change) {
    match change {
        Change::Write {
            file, offset, data, ..
        } => image.write(*file, index_of(*offset), data),
        Change::SetLength { file, length } => image.set_length(*file, index_of(*length)),
        Change::Rename(changes) => {
            for change in changes {
                image.set_name(change.directory, &change.name, change.target);
            }
        }
    }
}

fn sectors(offset: u64, length: usize) -> std::ops::Range<u64> {
    offset / SECTOR..(offset + length as u64).div_ceil(SECTOR)
}

/// Offsets belonged to bytes in memory, so they fit.
fn index_of(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
