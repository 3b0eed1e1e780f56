//! What the writer does when the disk does not do what it should.

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use super::Worker;
use crate::sled_store::disk::Disk;
use crate::sled_store::fault::{Fault, Outcome, contained};
use crate::sled_store::home::{GenerationId, Home};
use crate::sled_store::index::{ProgressStep, Stream, to_usize};
use crate::sled_store::manifest::Manifest;
use crate::sled_store::pieces::piece_at;
use crate::sled_store::recover;
use crate::sled_store::salvage::Loss;
use crate::{Amount, QueueStats, StoreError, StreamName, clock};

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum State {
    Open(Box<Disk>),
    /// The database was let go of after an error.
    Down(Down),
    Closed,
}

#[derive(Debug)]
pub(super) struct Down {
    error: StoreError,
    retry_at: Instant,
    pause: Duration,
    /// What callers were told about the generation that was open.
    promised: Option<Promises>,
}

/// The sequences that come next, as far as callers know.
#[derive(Debug)]
pub(super) struct Promises {
    generation: GenerationId,
    next: BTreeMap<StreamName, u64>,
}

impl Worker {
    /// Does something with the database, which is opened or repaired where needed.
    pub(super) fn with_disk<T>(
        &mut self,
        mut work: impl FnMut(&Home, &mut Disk) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut panicked = false;
        let mut mended = false;
        loop {
            self.ensure_open()?;
            let State::Open(disk) = &mut self.state else {
                return Err(StoreError::Closed);
            };
            match contained(|| work(&self.home, disk)) {
                Ok(done) => return Ok(done),
                Err(Fault::Untouched(error) | Fault::Foreign(error)) => return Err(error),
                Err(Fault::Refused(error)) => {
                    self.give_up(&error);
                    return Err(error);
                }
                Err(fault @ Fault::Panicked(_)) if !panicked => {
                    // Opening checks what is there, and mends it if need be.
                    panicked = true;
                    self.give_up(&fault.into_error(self.home.path()));
                    self.retry_now();
                }
                Err(fault) if mended => {
                    let error = fault.into_error(self.home.path());
                    self.give_up(&error);
                    return Err(error);
                }
                Err(fault) => {
                    mended = true;
                    self.mend(&fault.to_string())?;
                }
            }
        }
    }

    /// Lets go of a database that failed; a later call opens it again.
    pub(super) fn give_up(&mut self, error: &StoreError) {
        if matches!(self.state, State::Open(_)) {
            tracing::warn!(target: "record_cache", %error, "the database is closed after an error");
            let promised = self.let_go();
            self.go_down(error.clone(), promised);
        }
    }

    /// Closes the database, and says what callers know of it.
    pub(super) fn let_go(&mut self) -> Option<Promises> {
        let State::Open(disk) = mem::replace(&mut self.state, State::Closed) else {
            return None;
        };
        let Disk {
            generation, index, ..
        } = *disk;
        let next = index
            .streams
            .into_values()
            .map(|stream| (stream.name, stream.promised));
        let promised = Promises {
            generation: generation.id(),
            next: next.collect(),
        };
        generation.release();
        Some(promised)
    }

    /// A later call opens the database again.
    pub(super) fn go_down(&mut self, error: StoreError, promised: Option<Promises>) {
        self.state = State::Down(Down {
            error,
            retry_at: clock::monotonic() + SHORTEST_PAUSE,
            pause: SHORTEST_PAUSE,
            promised,
        });
    }

    pub(super) fn retry_now(&mut self) {
        if let State::Down(down) = &mut self.state {
            down.retry_at = clock::monotonic();
        }
    }

    pub(super) fn ensure_open(&mut self) -> Result<(), StoreError> {
        let State::Down(down) = &mut self.state else {
            return Ok(());
        };
        if clock::monotonic() < down.retry_at {
            return Err(down.error.clone());
        }
        let watch = &self.shared.watch;
        let opened = contained(|| {
            let (mut disk, loss) = recover::open(&self.home, &self.options, &|| watch.beat())?;
            if let Some(promised) = &down.promised
                && promised.generation == disk.generation.id()
            {
                keep_promises(&self.home, &mut disk, &promised.next)?;
            }
            Ok((disk, loss))
        });
        match opened {
            Ok((disk, loss)) => {
                self.reopened(disk, &loss);
                Ok(())
            }
            Err(fault) => {
                // For want of room nothing was tried, so there is nothing to wait for.
                if !matches!(fault, Fault::Untouched(_)) {
                    down.pause = (down.pause * 2).min(LONGEST_PAUSE);
                    down.retry_at = clock::monotonic() + down.pause;
                }
                down.error = fault.into_error(self.home.path());
                Err(down.error.clone())
            }
        }
    }

    /// Replaces a damaged database by what can be read of it.
    fn mend(&mut self, reason: &str) -> Result<(), StoreError> {
        let State::Open(disk) = mem::replace(&mut self.state, State::Closed) else {
            return Ok(());
        };
        let Disk {
            generation, mark, ..
        } = *disk;
        let manifest = Manifest {
            generation: generation.id(),
            segment: generation.segment(),
            floor: 0,
        };
        generation.release();
        let noted = mark.read(manifest.generation.salt);
        let (home, options, watch) = (&self.home, &self.options, &self.shared.watch);
        let mended = contained(|| {
            recover::salvage(home, options, manifest, noted, reason, &|| watch.beat())
        });
        match mended {
            Ok((disk, loss)) => {
                self.reopened(disk, &loss);
                Ok(())
            }
            Err(fault) => {
                let error = fault.into_error(self.home.path());
                self.go_down(error.clone(), None);
                Err(error)
            }
        }
    }

    /// Takes up a database again, and notes what is missing from it.
    fn reopened(&mut self, disk: Disk, loss: &Loss) {
        for (name, before) in self.shared.counters.read().streams {
            let now = disk
                .index
                .find(&name)
                .map_or_else(QueueStats::default, Stream::stats);
            let records = before.records.saturating_sub(now.records);
            if records > 0 {
                let bytes = before.bytes.saturating_sub(now.bytes);
                self.note_damage(&name, Amount::new(records, bytes));
            }
        }
        self.shared.counters.add_damaged(loss.of_others);
        self.state = State::Open(Box::new(disk));
        self.publish_all();
    }
}

/// Makes the disk say what callers were told.
///
/// A commit that failed may be there all the same: its records are dropped, because
/// its callers know that nothing was stored.
fn keep_promises(
    home: &Home,
    disk: &mut Disk,
    promised: &BTreeMap<StreamName, u64>,
) -> Outcome<()> {
    for stream in disk.index.streams.values_mut() {
        let expected = promised.get(&stream.name).copied().unwrap_or(stream.start);
        let mut step = ProgressStep::default();
        if stream.next > expected {
            let Some(piece) = piece_at(&disk.generation, stream, expected)? else {
                continue;
            };
            let (end, bytes) = (stream.next, stream.next_bytes - piece.bytes_before());
            disk.dead.push(stream.id, expected, end);
            step.done(stream, expected, end, bytes);
            stream.removed(Amount::new(to_usize(end - expected), bytes));
        } else if stream.next < expected {
            // They are lost, but their sequences are never used again.
            let from = mem::replace(&mut stream.next, expected);
            step.done(stream, from, expected, 0);
        }
        step.postpone(stream);
    }
    disk.index.recount();
    disk.save_all(home)
}
