//! Opening what is there, whatever state it is in.

use std::fs;

use super::Options;
use super::before::Before;
use super::disk::{self, Disk, check_room, empty_manifest};
use super::fault::{Fault, Outcome, contained};
use super::generation::{self, Generation};
use super::home::{GenerationId, Home};
use super::index::Index;
use super::load::load;
use super::manifest::{Found, Manifest};
use super::mark::{Mark, Noted};
use super::salvage::{self, LEAP, Loss, Salvaged};
use super::segment::SegmentSize;
use crate::StoreError;

/// sled may write a snapshot and begin a segment as soon as it opens.
const ROOM_SEGMENTS: u64 = 4;

/// Opens the records of a directory, or begins with none.
pub(super) fn open(home: &Home, options: &Options, beat: &dyn Fn()) -> Outcome<(Disk, Loss)> {
    let refused = |error| Fault::io("cannot read the directory", home.path(), error);
    // Whoever was here before may have ended between making names and syncing them.
    home.sync().map_err(refused)?;
    let found = Manifest::read(home).map_err(refused)?;
    let generations = home.generations().map_err(refused)?;
    let manifest = match found {
        Found::OtherVersion(version) => {
            let error = StoreError::incompatible(home.path(), version);
            return Err(Fault::Foreign(error));
        }
        Found::Manifest(manifest) => Some(manifest),
        Found::Nothing | Found::Damaged => guess(home, options, &generations),
    };
    let Some(manifest) = manifest else {
        refuse_foreign(home)?;
        let manifest = empty_manifest(options, 1, 0);
        check_room(home, ROOM_SEGMENTS * manifest.segment.bytes() as u64)?;
        manifest.write(home)?;
        return Ok((Disk::begin(home, options, manifest)?, Loss::default()));
    };
    check_room(home, ROOM_SEGMENTS * manifest.segment.bytes() as u64)?;
    home.remove_temporaries().map_err(refused)?;
    for stale in generations.iter().filter(|id| **id != manifest.generation) {
        home.remove_generation(*stale).map_err(refused)?;
    }
    let mark = Mark::open(home.path()).map_err(refused)?;
    let noted = mark.read(manifest.generation.salt);
    if generations.contains(&manifest.generation) {
        open_generation(home, options, manifest, noted, beat)
    } else {
        begin_without(home, options, manifest, noted)
    }
}

/// Begins the generation that should be there.
fn begin_without(
    home: &Home,
    options: &Options,
    manifest: Manifest,
    noted: Noted,
) -> Outcome<(Disk, Loss)> {
    if noted.held == 0 {
        return Ok((Disk::begin(home, options, manifest)?, Loss::default()));
    }
    let floor = ((manifest.floor + noted.appended) / LEAP + 1) * LEAP;
    let fresh = empty_manifest(options, manifest.generation.number + 1, floor);
    fresh.write(home)?;
    let disk = Disk::begin(home, options, fresh)?;
    let lost = noted.held;
    tracing::error!(target: "record_cache", lost, "the database of the cache was gone");
    Ok((disk, Loss::of_everything(lost)))
}

fn open_generation(
    home: &Home,
    options: &Options,
    manifest: Manifest,
    noted: Noted,
    beat: &dyn Fn(),
) -> Outcome<(Disk, Loss)> {
    let id = manifest.generation;
    let refused = |error| Fault::io("cannot open the database", home.path(), error);
    let before = Before::take(home, generation::database_file(home, id));
    let open = || contained(|| open_whole(home, options, manifest, noted));
    let mut opened = open();
    if let Err(Fault::Damaged(_) | Fault::Panicked(_)) = &opened {
        let restored = before.as_ref().map_or(Ok(()), Before::restore);
        restored
            .and_then(|()| Generation::reduce_to_log(home, id))
            .map_err(refused)?;
        opened = open();
    }
    match opened {
        Ok((generation, index)) => {
            if let Some(before) = before {
                before.discard().map_err(refused)?;
            }
            if generation.has_blobs() {
                tracing::error!(target: "record_cache", "the database has values outside its log");
            }
            Ok((Disk::new(home, generation, index)?, Loss::default()))
        }
        Err(Fault::Damaged(what) | Fault::Panicked(what)) => {
            if let Some(before) = before {
                // What was there before sled changed it is searched, and kept.
                before.give_back().map_err(refused)?;
            }
            salvage(home, options, manifest, noted, &what, beat)
        }
        Err(fault) => {
            if let Some(before) = before {
                let _ = before.discard();
            }
            Err(fault)
        }
    }
}

/// Opens a generation in which nothing is missing.
fn open_whole(
    home: &Home,
    options: &Options,
    manifest: Manifest,
    noted: Noted,
) -> Outcome<(Generation, Index)> {
    let id = manifest.generation;
    let generation = Generation::open(home, id, manifest.segment, options.durability)?;
    match load(&generation) {
        Ok(index) if index.appended() >= noted.appended => Ok((generation, index)),
        Ok(_) => {
            generation.release();
            Err(Fault::Damaged("the newest records are missing".to_owned()))
        }
        Err(fault) => {
            generation.release();
            Err(fault)
        }
    }
}

/// Puts everything that can still be read into a new generation, and the rest aside.
pub(super) fn salvage(
    home: &Home,
    options: &Options,
    manifest: Manifest,
    noted: Noted,
    reason: &str,
    beat: &dyn Fn(),
) -> Outcome<(Disk, Loss)> {
    let id = manifest.generation;
    let new = disk::new_id(id.number + 1);
    let filled = salvage::salvage(home, options, manifest, new, noted, beat);
    let salvaged = filled.inspect_err(|_| {
        let _ = home.remove_generation(new);
    })?;
    let Salvaged {
        generation,
        kept,
        loss,
    } = salvaged;
    let index = load(&generation)?;
    let disk = Disk::adopt(home, generation, index)?;
    let lost = loss.records();
    if kept == 0 && lost == 0 {
        // It had been begun and no more.
        let _ = home.remove_generation(id);
        return Ok((disk, loss));
    }
    let aside = home.set_aside(id);
    match aside.and_then(|path| home.sync().map(|()| path)) {
        Ok(path) => tracing::error!(
            target: "record_cache", reason, kept, lost, copy = %path.display(),
            "the cache was damaged: what could be read of it was kept"
        ),
        Err(error) => tracing::error!(
            target: "record_cache", reason, kept, lost, %error,
            "the cache was damaged: what could be read of it was kept, but no copy of the rest"
        ),
    }
    Ok((disk, loss))
}

/// The generation that counts most likely, when nothing says so.
fn guess(home: &Home, options: &Options, generations: &[GenerationId]) -> Option<Manifest> {
    let manifests: Vec<Manifest> = generations
        .iter()
        .map(|id| Manifest {
            generation: *id,
            segment: segment_of(home, *id),
            floor: 0,
        })
        .collect();
    let loads = |manifest: &&Manifest| {
        let opened = contained(|| {
            let (generation, _) = open_whole(home, options, **manifest, Noted::default())?;
            generation.release();
            Ok(())
        });
        opened.is_ok()
    };
    // A younger one may be unfinished, an older one is there until the younger counts.
    let whole = manifests.iter().rev().find(loads);
    whole.or(manifests.first()).copied()
}

fn segment_of(home: &Home, id: GenerationId) -> SegmentSize {
    let configuration = home.generation_path(id).join("conf");
    let bytes = fs::read(configuration).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let written = text.split_once("segment_size: ").map(|(_, rest)| {
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    });
    written
        .and_then(|digits| SegmentSize::of_bytes(digits.parse().ok()?))
        .unwrap_or(SegmentSize::Small)
}

/// A directory in which another program keeps a database of its own is left alone.
fn refuse_foreign(home: &Home) -> Outcome<()> {
    let is_there = |name: &str| home.path().join(name).exists();
    if is_there("db") && is_there("conf") {
        let found = "a database without a manifest";
        return Err(Fault::Foreign(StoreError::incompatible(home.path(), found)));
    }
    Ok(())
}
