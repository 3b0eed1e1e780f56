//! Measures opening a store that holds records, with a cold page cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fill::{End, Fill};
use crate::bench::amount::{GIB, KIB, MIB, bytes, duration, spread};
use crate::bench::contender::{self, Promise, StoreKind};
use crate::bench::prelude::*;
use crate::bench::{amount, process};

const RECORD_BYTES: u64 = KIB;

/// Opens a directory once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    store: StoreKind,
    directory: PathBuf,
    expected_bytes: u64,
    records: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    seconds: f64,
    /// Memory taken by the opening.
    bytes: u64,
}

impl Job for Open {
    const NAME: &'static str = "open";
    type Output = Opened;

    async fn run(self) -> Result<Opened> {
        place::make_cold(&self.directory)?;
        let (directory, expected) = (&self.directory, self.expected_bytes);
        let before = process::resident_bytes()?;
        process::forget_peak()?;
        let start = Instant::now();
        let store = contender::open(self.store, directory, Promise::PowerLoss, expected).await?;
        let seconds = start.elapsed().as_secs_f64();
        let bytes = process::peak_bytes()?.saturating_sub(before);
        let (found, expected) = (store.stats().records(), self.records);
        if found != expected {
            bail!("{found} records are there, not {expected}");
        }
        store.close().await?;
        Ok(Opened { seconds, bytes })
    }
}

/// The state before an opening.
#[derive(Debug, Clone, Copy)]
enum Before {
    Closed,
    Killed,
    IndexDeleted,
}

impl Before {
    const ALL: [Self; 3] = [Self::Closed, Self::Killed, Self::IndexDeleted];

    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "after a close",
            Self::Killed => "after a kill",
            Self::IndexDeleted => "index deleted",
        }
    }

    const fn most_seconds(self) -> f64 {
        match self {
            Self::Closed => 0.3,
            Self::Killed => 0.6,
            Self::IndexDeleted => 2.0,
        }
    }
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let sizes: &[u64] = match effort {
        Effort::Full => &[5 * MIB, 100 * MIB, GIB],
        Effort::Quick => &[5 * MIB, 100 * MIB],
    };
    let openings = Before::ALL.map(Before::name).join(" | ");
    let mut table = Table::new(
        "Opening, records of 1 KiB, files not in memory: median (least–most)",
        &format!("store | cached | on disk | {openings} | memory taken"),
    );
    for store in StoreKind::DURABLE {
        measured.begin(format!("{store}: opening"));
        for &size in sizes {
            let mut row = Row::default();
            for _ in effort.rounds(3, Duration::from_secs(40)) {
                row.measure(store, size).await?;
            }
            let mut cells = vec![store.to_string(), bytes(size), bytes(row.on_disk)];
            cells.extend(row.seconds.iter().map(|seconds| spread(seconds, duration)));
            cells.push(spread(&row.memory, amount::size));
            table.row(cells);
            if size == GIB {
                row.judge(store, measured);
            }
        }
    }
    measured.table(table);
    Ok(())
}

/// One store and one size.
#[derive(Default)]
struct Row {
    seconds: [Series; Before::ALL.len()],
    memory: Series,
    on_disk: u64,
}

impl Row {
    async fn measure(&mut self, store: StoreKind, size: u64) -> Result<()> {
        // Opening writes data that speeds up the next opening, so each has its own directory.
        for (before, seconds) in Before::ALL.into_iter().zip(&mut self.seconds) {
            let directory = place::directory()?;
            let fill = Fill {
                store,
                directory: directory.path().to_owned(),
                expected_bytes: size,
                records: usize::try_from(size / RECORD_BYTES)?,
                record_bytes: RECORD_BYTES,
                end: match before {
                    Before::Killed => End::Killed,
                    Before::Closed | Before::IndexDeleted => End::Closed,
                },
            };
            measure(&fill).await?;
            self.on_disk = place::allocated(directory.path());
            if let Before::IndexDeleted = before {
                delete_index(&directory.path().join("store"))?;
            }
            let open = Open {
                store,
                directory: fill.directory,
                expected_bytes: size,
                records: fill.records,
            };
            let opened = measure(&open).await?;
            seconds.push(opened.seconds);
            self.memory.push(opened.bytes as f64);
        }
        Ok(())
    }

    fn judge(self, store: StoreKind, measured: &mut Measured) {
        for (before, seconds) in Before::ALL.into_iter().zip(self.seconds) {
            let what = format!("{store}: opening 1 GiB, {}", before.name());
            let most = Target::AtMost(before.most_seconds());
            measured.judge(Verdict::new(what, most, seconds, duration));
        }
    }
}

fn delete_index(store: &Path) -> Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"index-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
