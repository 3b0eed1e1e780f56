//! What the writer does when the disk does not do what it should.

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use super::Worker;
use crate::sled_store::disk::Disk;
use crate::sled_store::fault::{Fault, Outcome, contained};
use crate::sled_store::generation::Changes;
use crate::sled_store::home::{GenerationId, Home};
use crate::sled_store::index::{ProgressStep, to_usize};
use crate::sled_store::manifest::Manifest;
use crate::sled_store::pieces::piece_at;
use crate::sled_store::settle::remove_payloads;
use crate::sled_store::{Options, recover};
use crate::{Removed, StoreError, StreamName, clock};

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
struct Promises {
    generation: GenerationId,
    next: BTreeMap<StreamName, u64>,
}

impl Worker {
    /// Does something with the database, which is opened or repaired where needed.
    pub(super) fn with_disk<T>(
        &mut self,
        mut work: impl FnMut(&Home, &Options, &mut Disk) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut panicked = false;
        let mut mended = false;
        loop {
            self.ensure_open()?;
            let State::Open(disk) = &mut self.state else {
                return Err(StoreError::Closed);
            };
            match contained(|| work(&self.home, &self.options, disk)) {
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
    fn give_up(&mut self, error: &StoreError) {
        let State::Open(disk) = mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        tracing::warn!(target: "record_cache", %error, "the database is closed after an error");
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
        self.state = State::Down(Down {
            error: error.clone(),
            retry_at: clock::monotonic() + SHORTEST_PAUSE,
            pause: SHORTEST_PAUSE,
            promised: Some(promised),
        });
    }

    fn retry_now(&mut self) {
        if let State::Down(down) = &mut self.state {
            down.retry_at = clock::monotonic();
        }
    }

    fn ensure_open(&mut self) -> Result<(), StoreError> {
        let State::Down(down) = &mut self.state else {
            return Ok(());
        };
        if clock::monotonic() < down.retry_at {
            return Err(down.error.clone());
        }
        let watch = &self.shared.watch;
        let opened = contained(|| {
            let (mut disk, loss) = recover::open(&self.home, &self.options, &|| watch.beat())?;
            let mut lost = Vec::new();
            if let Some(promised) = &down.promised
                && promised.generation == disk.generation.id()
            {
                lost = keep_promises(&mut disk, &promised.next)?;
            }
            Ok((disk, loss, lost))
        });
        match opened {
            Ok((disk, loss, lost)) => {
                self.state = State::Open(Box::new(disk));
                self.note_loss(&loss);
                lost.iter()
                    .for_each(|(stream, removed)| self.note_damage(stream, *removed));
                self.publish_all();
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
        };
        generation.release();
        let noted = mark.read(manifest.generation.salt);
        let watch = &self.shared.watch;
        let mended =
            contained(|| recover::salvage(&self.home, manifest, noted, reason, &|| watch.beat()));
        match mended {
            Ok((disk, loss)) => {
                self.state = State::Open(Box::new(disk));
                self.note_loss(&loss);
                self.publish_all();
                Ok(())
            }
            Err(fault) => {
                let error = fault.into_error(self.home.path());
                let (retry_at, pause) = (clock::monotonic() + SHORTEST_PAUSE, SHORTEST_PAUSE);
                let error_of_state = error.clone();
                self.state = State::Down(Down {
                    error: error_of_state,
                    retry_at,
                    pause,
                    promised: None,
                });
                Err(error)
            }
        }
    }
}

/// Makes the disk say what callers were told.
///
/// A commit that failed may be there all the same: its records are dropped, because
/// its callers know that nothing was stored. Returns what is missing.
fn keep_promises(
    disk: &mut Disk,
    promised: &BTreeMap<StreamName, u64>,
) -> Outcome<Vec<(StreamName, Removed)>> {
    let mut changes = Changes::default();
    let mut lost = Vec::new();
    for stream in disk.index.streams.values_mut() {
        let expected = promised.get(&stream.name).copied().unwrap_or(stream.start);
        let mut step = ProgressStep::default();
        if stream.next > expected {
            let Some(piece) = piece_at(&disk.generation, stream, expected)? else {
                continue;
            };
            let (end, bytes) = (stream.next, stream.next_bytes - piece.bytes_before());
            remove_payloads(&disk.generation, stream, expected, end, &mut changes)?;
            step.done(stream, expected, end, bytes);
            stream.removed(Removed::new(to_usize(end - expected), bytes));
        } else if stream.next < expected {
            let missing = expected - stream.next;
            let from = mem::replace(&mut stream.next, expected);
            step.done(stream, from, expected, 0);
            lost.push((stream.name.clone(), Removed::new(to_usize(missing), 0)));
        }
        step.write(stream, disk.generation.codec(), &mut changes);
    }
    disk.generation.apply(changes)?;
    disk.generation.flush()?;
    Ok(lost)
}
