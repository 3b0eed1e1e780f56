//! Opening a store that holds records.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fill::Fill;
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
    /// Whether the operating system still has the files in memory.
    pages: Pages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Pages {
    Cold,
    Warm,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    seconds: f64,
    /// Memory that was taken meanwhile.
    bytes: u64,
}

impl Job for Open {
    const NAME: &'static str = "open";
    type Output = Opened;

    async fn run(self) -> Result<Opened> {
        if self.pages == Pages::Cold {
            place::make_cold(&self.directory)?;
        }
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

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let sizes: &[u64] = match effort {
        Effort::Full => &[5 * MIB, 100 * MIB, GIB],
        Effort::Quick => &[5 * MIB, 100 * MIB],
    };
    let mut table = Table::new(
        "Opening, records of 1 KiB: median (least–most)",
        "store | cached | on disk | first opening, files in memory | \
         first opening, files not in memory | next opening | memory taken",
    );
    for store in StoreKind::DURABLE {
        measured.begin(format!("{store}: opening"));
        for &size in sizes {
            let mut row = Row::default();
            for _ in effort.rounds(3, Duration::from_secs(40)) {
                row.measure(store, size).await?;
            }
            table.row([
                store.to_string(),
                bytes(size),
                bytes(row.on_disk),
                spread(&row.warm, duration),
                spread(&row.cold, duration),
                spread(&row.next, duration),
                spread(&row.memory, amount::size),
            ]);
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
    /// A first opening after a restart of the program, and of the machine.
    warm: Series,
    cold: Series,
    next: Series,
    memory: Series,
    on_disk: u64,
}

impl Row {
    async fn measure(&mut self, store: StoreKind, size: u64) -> Result<()> {
        // A store may prepare itself for the next opening, so each first one has its own.
        for pages in [Pages::Warm, Pages::Cold] {
            let directory = place::directory()?;
            let records = usize::try_from(size / RECORD_BYTES)?;
            let fill = Fill {
                store,
                directory: directory.path().to_owned(),
                expected_bytes: size,
                records,
                record_bytes: RECORD_BYTES,
            };
            measure(&fill).await?;
            self.on_disk = place::allocated(directory.path());
            let mut open = Open {
                store,
                directory: fill.directory,
                expected_bytes: size,
                records,
                pages,
            };
            let opened = measure(&open).await?;
            if pages == Pages::Warm {
                self.warm.push(opened.seconds);
                continue;
            }
            self.cold.push(opened.seconds);
            self.memory.push(opened.bytes as f64);
            open.pages = Pages::Warm;
            self.next.push(measure(&open).await?.seconds);
        }
        Ok(())
    }

    fn judge(self, store: StoreKind, measured: &mut Measured) {
        let most = match store {
            StoreKind::Memory | StoreKind::Sled | StoreKind::TinySled => 1.0,
            StoreKind::Journal => 0.5,
        };
        for (files, seconds) in [("in memory", self.warm), ("not in memory", self.cold)] {
            let what = format!("{store}: first opening with 1 GiB cached, files {files}");
            measured.judge(Verdict::new(what, Target::AtMost(most), seconds, duration));
        }
    }
}
