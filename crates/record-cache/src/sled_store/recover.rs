//! Opening what is there, whatever state it is in.

use std::fs;
use std::path::PathBuf;

use super::Options;
use super::disk::{self, Disk};
use super::fault::{Fault, Outcome, contained};
use super::generation::{self, Generation};
use super::home::{GenerationId, Home, absent_is_fine};
use super::load::load;
use super::manifest::{Found, Manifest};
use super::mark::Mark;
use super::salvage::{self, Loss, Salvaged};
use super::segment::SegmentSize;
use crate::StoreError;

/// Before sled opens a database of up to this size, it is copied: sled overwrites
/// what lies behind a damaged message, and with the copy it can be searched.
const COPIED_BYTES: u64 = 64 * 1024 * 1024;
const COPY: &str = "before-open.tmp";

/// sled may write a snapshot and begin a segment as soon as it opens.
const ROOM_SEGMENTS: u64 = 4;

/// Opens the records of a directory, or begins with none.
pub(super) fn open(home: &Home, options: &Options, beat: &dyn Fn()) -> Outcome<(Disk, Loss)> {
    let refused = |error| Fault::io("cannot read the directory", home.path(), error);
    let found = Manifest::read(home).map_err(refused)?;
    let generations = home.generations().map_err(refused)?;
    let manifest = match found {
        Found::OtherVersion(version) => {
            return Err(Fault::Foreign(StoreError::incompatible(
                home.path(),
                version,
            )));
        }
        Found::Nothing if generations.is_empty() => {
            refuse_foreign(home)?;
            return begin(home, options, 1);
        }
        Found::Nothing | Found::Damaged => match guess(home, &generations) {
            Some(manifest) => manifest,
            None => return begin(home, options, 1),
        },
        Found::Manifest(manifest) => manifest,
    };
    home.remove_temporaries().map_err(refused)?;
    for stale in generations.iter().filter(|id| **id != manifest.generation) {
        home.remove_generation(*stale).map_err(refused)?;
    }
    open_generation(home, manifest, beat)
}

fn begin(home: &Home, options: &Options, number: u64) -> Outcome<(Disk, Loss)> {
    let segment = SegmentSize::for_cap(options.expected_bytes).bytes() as u64;
    disk::check_room(home, ROOM_SEGMENTS * segment)?;
    Ok((Disk::create(home, options, number, 0)?, Loss::default()))
}

fn open_generation(home: &Home, manifest: Manifest, beat: &dyn Fn()) -> Outcome<(Disk, Loss)> {
    disk::check_room(home, ROOM_SEGMENTS * manifest.segment.bytes() as u64)?;
    let id = manifest.generation;
    let refused = |error| Fault::io("cannot open the database", home.path(), error);
    let mark = Mark::open(home.path()).map_err(refused)?;
    let noted = mark.read(id.salt);
    let copy = copy_aside(home, id);
    let opened = contained(|| {
        let generation = Generation::open(home, id, manifest.segment)?;
        match load(&generation) {
            Ok(index) if index.appended() >= noted => Ok((generation, index)),
            Ok(_) => {
                generation.release();
                Err(Fault::Damaged("the newest records are missing".to_owned()))
            }
            Err(fault) => {
                generation.release();
                Err(fault)
            }
        }
    });
    let remove_copy = || absent_is_fine(fs::remove_file(home.path().join(COPY)));
    match opened {
        Ok((generation, index)) => {
            remove_copy().map_err(refused)?;
            let base_bytes = generation.allocated();
            if generation.has_blobs() {
                tracing::error!(target: "record_cache", "the database has values outside its log");
            }
            Ok((
                Disk {
                    generation,
                    index,
                    mark,
                    base_bytes,
                },
                Loss::default(),
            ))
        }
        Err(Fault::Damaged(what) | Fault::Panicked(what)) => {
            if let Some(copy) = copy {
                // What was there before sled changed it is searched, and kept.
                fs::rename(copy, generation::database_file(home, id)).map_err(refused)?;
            }
            salvage(home, manifest, noted, &what, beat)
        }
        Err(fault) => {
            let _ = remove_copy();
            Err(fault)
        }
    }
}

/// Puts everything that can still be read into a new generation, and the rest aside.
pub(super) fn salvage(
    home: &Home,
    manifest: Manifest,
    noted: u64,
    reason: &str,
    beat: &dyn Fn(),
) -> Outcome<(Disk, Loss)> {
    let id = manifest.generation;
    let new = disk::new_id(id.number + 1);
    let filled = salvage::salvage(home, manifest, new, noted, beat);
    let Salvaged {
        generation,
        kept,
        loss,
    } = filled.inspect_err(|_| {
        let _ = home.remove_generation(new);
    })?;
    let index = load(&generation)?;
    let disk = Disk::adopt(home, generation, index)?;
    let lost = loss.records();
    let aside = home
        .set_aside(id)
        .and_then(|path| home.sync().map(|()| path));
    match aside {
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

/// The copy is a help where there is room for it, not a need.
fn copy_aside(home: &Home, id: GenerationId) -> Option<PathBuf> {
    let database = generation::database_file(home, id);
    let length = fs::metadata(&database).ok()?.len();
    let fits = length <= COPIED_BYTES && disk::check_room(home, 2 * length).is_ok();
    let copy = home.path().join(COPY);
    let copied = fits && fs::copy(&database, &copy).is_ok();
    copied.then_some(copy)
}

/// The generation that counts most likely, when nothing says so.
fn guess(home: &Home, generations: &[GenerationId]) -> Option<Manifest> {
    let manifests: Vec<Manifest> = generations
        .iter()
        .map(|id| Manifest {
            generation: *id,
            segment: segment_of(home, *id),
        })
        .collect();
    let loads = |manifest: &&Manifest| {
        let opened = contained(|| {
            let generation = Generation::open(home, manifest.generation, manifest.segment)?;
            let loaded = load(&generation).map(|_| ());
            generation.release();
            loaded
        });
        opened.is_ok()
    };
    // A younger one may be unfinished, an older one is there until the younger counts.
    manifests
        .iter()
        .rev()
        .find(loads)
        .or(manifests.first())
        .copied()
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
