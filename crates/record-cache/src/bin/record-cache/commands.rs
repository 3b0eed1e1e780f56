//! Runs the commands.

use std::error::Error;
use std::io::Write;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use record_cache::inspect::{Inspection, directories};
use record_cache::{Amount, ReadLimits, Record, RecordStore, SledStore, StoreError, StreamName};

use crate::output::{self, StreamSummary, Summary};
use crate::{Command, Which};

/// How many levels below a directory to look for caches. The directory shared by all programs is
/// two levels above a client's default directory.
const LEVELS: usize = 3;
const MOST_LOOKED_INTO: usize = 10_000;
const MOST_NAMED: usize = 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs a command. Returns whether everything was intact.
pub(crate) fn run(command: Command, out: &mut impl Write) -> Outcome<bool> {
    match command {
        Command::Stats { directory, json } => {
            for cache in &mut caches(&directory)? {
                let summary = summarize(cache)?;
                output::stats(&summary, json, out)?;
            }
            Ok(true)
        }
        Command::Peek { which, limit, json } => {
            show(&which, Some(limit), |cache, stream, record| {
                output::record(cache, stream, record, which.payloads, json, out)
            })
        }
        Command::Export { which } => show(&which, None, |cache, stream, record| {
            output::record(cache, stream, record, which.payloads, true, out)
        }),
        Command::Verify { directory, json } => {
            let mut sound = true;
            for cache in &mut caches(&directory)? {
                let damaged = damaged(cache)?;
                sound &= output::verified(cache, damaged, json, out)?;
            }
            Ok(sound)
        }
        Command::Clear { directory, yes } => clear(&directory, yes, out).map(|()| true),
    }
}

fn caches(path: &Path) -> Outcome<Vec<Inspection>> {
    let mut caches = Vec::new();
    for directory in cache_directories(path)? {
        caches.push(Inspection::read(directory)?);
    }
    Ok(caches)
}

fn cache_directories(path: &Path) -> Outcome<Vec<PathBuf>> {
    match directories(path) {
        Ok(found) => Ok(found),
        Err(StoreError::Incompatible { path, .. }) => Err(not_a_cache(&path).into()),
        Err(error) => Err(error.into()),
    }
}

/// Names the caches below a directory, since the user is often looking for one of those.
fn not_a_cache(path: &Path) -> String {
    let path_shown = path.display();
    let (mut found, mut left) = (Vec::new(), MOST_LOOKED_INTO);
    find_below(path, LEVELS, &mut left, &mut found);
    if found.is_empty() {
        return format!("{path_shown}: not a record cache");
    }
    found.sort_unstable();
    let named = found.iter().take(MOST_NAMED);
    let mut message = format!("{path_shown}: not a record cache, but there are some below it:");
    for below in named {
        message += &format!("\n  {}", below.display());
    }
    if found.len() > MOST_NAMED {
        message += &format!("\n  and {} more", found.len() - MOST_NAMED);
    }
    message
}

/// Searches for caches. Does not follow links, and skips what cannot be read.
fn find_below(path: &Path, levels: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let entries = path.read_dir().into_iter().flatten().flatten();
    for entry in entries {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Some(fewer) = left.checked_sub(1) else {
            return;
        };
        *left = fewer;
        if directories(entry.path()).is_ok() {
            found.push(entry.path());
        } else if levels > 1 {
            find_below(&entry.path(), levels - 1, left, found);
        }
    }
}

/// Passes on the records of a path, oldest first, with a limit per stream.
fn show(
    which: &Which,
    limit: Option<usize>,
    mut take: impl FnMut(&Path, &StreamName, &Record) -> std::io::Result<()>,
) -> Outcome<bool> {
    let mut sound = true;
    let mut found = which.stream.is_none();
    for cache in &mut caches(&which.directory)? {
        for stream in cache.stats().streams.into_keys() {
            if which
                .stream
                .as_deref()
                .is_some_and(|name| name != stream.as_str())
            {
                continue;
            }
            found = true;
            if limit == Some(0) {
                continue;
            }
            let path = cache.path().to_owned();
            let mut left = limit.unwrap_or(usize::MAX);
            let damaged = each(cache, &stream, |record| {
                take(&path, &stream, record)?;
                left -= 1;
                Ok(left > 0)
            })?;
            if damaged.records > 0 {
                eprintln!(
                    "{stream}: left out {}",
                    output::counted(damaged.records, "damaged record")
                );
                sound = false;
            }
        }
    }
    if !found {
        let name = which.stream.as_deref().unwrap_or_default();
        return Err(format!("no records for stream `{name}`").into());
    }
    Ok(sound)
}

/// Reads a stream until `take` has enough. Returns what was damaged.
fn each(
    cache: &mut Inspection,
    stream: &StreamName,
    mut take: impl FnMut(&Record) -> std::io::Result<bool>,
) -> Outcome<Amount> {
    const STEP: ReadLimits = ReadLimits::new(
        NonZeroUsize::new(1000).expect("not zero"),
        NonZeroU64::new(4 << 20).expect("not zero"),
    );
    let mut damaged = Amount::default();
    let mut after = None;
    loop {
        let portion = cache.oldest(stream, after, STEP)?;
        damaged += portion.batch.damaged;
        for record in &portion.batch.records {
            if !take(record)? {
                return Ok(damaged);
            }
        }
        if portion.last.is_none() {
            return Ok(damaged);
        }
        after = portion.last;
    }
}

fn summarize(cache: &mut Inspection) -> Outcome<Summary> {
    let mut streams = Vec::new();
    for (name, held) in cache.stats().streams {
        let mut oldest = None;
        each(cache, &name, |record| {
            oldest = Some(record.recorded_at);
            Ok(false)
        })?;
        streams.push(StreamSummary { name, held, oldest });
    }
    Ok(Summary {
        path: cache.path().to_owned(),
        condition: cache.condition().clone(),
        streams,
    })
}

fn damaged(cache: &mut Inspection) -> Outcome<Amount> {
    let mut damaged = Amount::default();
    for stream in cache.stats().streams.into_keys() {
        damaged += each(cache, &stream, |_| Ok(true))?;
    }
    Ok(damaged)
}

fn clear(path: &Path, yes: bool, out: &mut impl Write) -> Outcome<()> {
    let directories = cache_directories(path)?;
    if yes {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        return runtime.block_on(clear_all(&directories, out));
    }
    for directory in directories {
        let held = Inspection::read(&directory)?.stats();
        let records = output::counted(held.records(), "record");
        let bytes = output::counted(held.bytes(), "byte");
        writeln!(out, "{}: {records}, {bytes}", directory.display())?;
    }
    Err("nothing was deleted; to delete these records, add --yes".into())
}

/// Clears all of these directories, or none if a client uses one of them.
async fn clear_all(directories: &[PathBuf], out: &mut impl Write) -> Outcome<()> {
    let mut stores = Vec::new();
    let mut outcome = Ok(());
    for directory in directories {
        match SledStore::open(directory).await {
            Ok(store) => stores.push((directory, store)),
            Err(error) => {
                outcome = Err(cannot_clear(directory, error));
                break;
            }
        }
    }
    for (directory, store) in stores {
        if outcome.is_ok() {
            outcome = clear_store(directory, &store, out).await;
        }
        let closed = store.close().await;
        outcome = outcome.and_then(|()| Ok(closed?));
    }
    outcome
}

async fn clear_store(directory: &Path, store: &SledStore, out: &mut impl Write) -> Outcome<()> {
    let cleared = store.clear().await?;
    let records = output::counted(cleared.records, "record");
    writeln!(out, "{}: {records} deleted", directory.display())?;
    Ok(())
}

fn cannot_clear(directory: &Path, error: StoreError) -> Box<dyn Error> {
    match error {
        StoreError::InUse { .. } => format!(
            "{}: a client is at work here. It holds what it has in memory too, so call its \
             clear_cache, or end it first. Nothing was deleted",
            directory.display()
        )
        .into(),
        error => error.into(),
    }
}
