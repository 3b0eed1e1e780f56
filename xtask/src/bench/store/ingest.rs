//! Measures durable ingest: each task waits for one record before it appends the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::amount::{KIB, MIB, bytes, multiple, number, spread};
use crate::bench::contender::{Contender, Promise, StoreKind, Target, data_of_record};
use crate::bench::prelude::*;
use crate::bench::verdict::{self, Verdict};

/// Measures one contender for a short time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ingest {
    contender: Contender,
    promise: Promise,
    directory: PathBuf,
    record_bytes: u64,
    tasks: u64,
    /// Tasks stop after this time, or after this many bytes.
    time: Duration,
    max_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ingested {
    records_per_second: f64,
    group_size: Option<f64>,
}

impl Job for Ingest {
    const NAME: &'static str = "ingest";
    type Output = Ingested;

    async fn run(self) -> Result<Ingested> {
        let (directory, expected) = (&self.directory, self.max_bytes);
        let target = Target::open(self.contender, directory, self.promise, expected).await?;
        let data = data_of_record(self.record_bytes)?;
        // The first commits create files and learn sizes.
        for _ in 0..8 {
            target.append(data.clone()).await?;
        }
        let target = Arc::new(target);
        let brought = Arc::new(AtomicU64::new(0));
        let limit = self.max_bytes / self.record_bytes;
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for _ in 0..self.tasks {
            let (target, data, brought) = (Arc::clone(&target), data.clone(), Arc::clone(&brought));
            tasks.spawn(async move {
                while {
                    target.append(data.clone()).await?;
                    let brought = brought.fetch_add(1, Ordering::Relaxed) + 1;
                    brought < limit && start.elapsed() < self.time
                } {}
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let group_size = target.group_size();
        if let Some(target) = Arc::into_inner(target) {
            target.close().await?;
        }
        Ok(Ingested {
            records_per_second: brought.load(Ordering::Relaxed) as f64 / seconds,
            group_size,
        })
    }
}

/// All contenders, by record size and number of tasks.
pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    for promise in [Promise::PowerLoss, Promise::ProcessCrash] {
        measured.begin(format!("durable ingest, {promise}"));
        let contenders = contenders(promise);
        let names: Vec<_> = contenders.iter().map(ToString::to_string).collect();
        let header = format!("record | tasks | group | {}", names.join(" | "));
        let title = format!("Records per second, {promise}: median");
        let mut rates = Table::new(title, &header);
        let mut ratios = Table::new(
            format!("Ratios, {promise}: median (least–most)"),
            "store | record | tasks | ÷ raw append | ÷ SQLite WAL | ÷ SQLite WAL grouped | \
             ÷ JournalStore",
        );
        let mut cells = Vec::new();
        for record_bytes in [100, KIB, 16 * KIB, MIB] {
            for tasks in [1, 8, 64, 512] {
                if effort == Effort::Quick && (record_bytes > KIB || tasks == 8) {
                    continue;
                }
                let cell = Cell::measure(effort, promise, &contenders, record_bytes, tasks).await?;
                rates.row(cell.row());
                cell.judge(promise, measured);
                cells.push(cell);
            }
        }
        for store in StoreKind::DURABLE {
            cells
                .iter()
                .for_each(|cell| ratios.row(cell.ratios_of(store)));
        }
        if promise == Promise::PowerLoss {
            measured.chart(chart(&cells));
        }
        measured.table(rates);
        measured.table(ratios);
    }
    Ok(())
}

/// Records of 1 KiB, by number of tasks.
fn chart(cells: &[Cell]) -> Chart {
    let shown = cells.iter().filter(|cell| cell.record_bytes == KIB);
    Chart {
        name: "ingest",
        title: "Records of 1 KiB per second, each durable before its call returns (log scale)"
            .to_owned(),
        scale: Scale::Logarithmic,
        text: number,
        groups: shown.map(Cell::bars).collect(),
    }
}

fn contenders(promise: Promise) -> Vec<Contender> {
    let mut contenders = vec![Contender::Raw];
    // Without syncs, a journal deleted after each transaction makes no sense.
    if promise == Promise::PowerLoss {
        contenders.push(Contender::SqliteJournal);
    }
    contenders.extend([Contender::SqliteWal, Contender::SqliteWalGrouped]);
    contenders.extend(StoreKind::DURABLE.map(Contender::Store));
    contenders
}

/// One record size and one number of tasks.
struct Cell {
    record_bytes: u64,
    tasks: u64,
    rates: Vec<(Contender, Series)>,
    group: Series,
}

impl Cell {
    async fn measure(
        effort: Effort,
        promise: Promise,
        contenders: &[Contender],
        record_bytes: u64,
        tasks: u64,
    ) -> Result<Self> {
        let fresh = contenders
            .iter()
            .map(|&contender| (contender, Series::default()));
        let mut cell = Self {
            record_bytes,
            tasks,
            rates: fresh.collect(),
            group: Series::default(),
        };
        // Where targets are set, long enough that the making of the first files does not count.
        let (factor, patience) = match (promise, record_bytes) {
            (Promise::PowerLoss, KIB) => (3, Duration::from_secs(60)),
            _ => (1, Duration::from_secs(15)),
        };
        let max_bytes = u64::from(factor) * 256 * MIB;
        for round in effort.rounds(11, patience) {
            for turn in 0..contenders.len() {
                let (contender, rates) = &mut cell.rates[(round + turn) % contenders.len()];
                let directory = place::directory()?;
                let ingest = Ingest {
                    contender: *contender,
                    promise,
                    directory: directory.path().to_owned(),
                    record_bytes,
                    tasks,
                    time: effort.slice() * factor,
                    max_bytes: max_bytes.max(2 * tasks * record_bytes),
                };
                let ingested = measure(&ingest).await?;
                rates.push(ingested.records_per_second);
                if let (Contender::Raw, Some(size)) = (*contender, ingested.group_size) {
                    cell.group.push(size);
                }
            }
        }
        Ok(cell)
    }

    fn rates(&self, contender: Contender) -> Series {
        let of = self.rates.iter().find(|(known, _)| *known == contender);
        of.map(|(_, rates)| rates.clone()).unwrap_or_default()
    }

    fn ratio(&self, store: StoreKind, to: Contender) -> Series {
        self.rates(Contender::Store(store)).over(&self.rates(to))
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![bytes(self.record_bytes), self.tasks.to_string()];
        row.push(number(self.group.median()));
        row.extend(self.rates.iter().map(|(_, rates)| number(rates.median())));
        row
    }

    fn ratios_of(&self, store: StoreKind) -> Vec<String> {
        use Contender::{Raw, SqliteWal, SqliteWalGrouped, Store};
        let mut row = vec![store.to_string(), bytes(self.record_bytes)];
        row.push(self.tasks.to_string());
        let ratio = |to| spread(&self.ratio(store, to), multiple);
        row.extend([Raw, SqliteWal, SqliteWalGrouped, Store(StoreKind::Journal)].map(ratio));
        row
    }

    fn bars(&self) -> Group {
        let bars = self.rates.iter().map(|(contender, rates)| Bar {
            label: match contender {
                Contender::Store(store) => format!("ours: {store}"),
                other => other.to_string(),
            },
            value: rates.median(),
            is_ours: matches!(contender, Contender::Store(_)),
        });
        Group {
            title: self.tasks_in_words(),
            bars: bars.collect(),
        }
    }

    fn tasks_in_words(&self) -> String {
        match self.tasks {
            1 => "1 task".to_owned(),
            tasks => format!("{tasks} tasks"),
        }
    }

    fn judge(&self, promise: Promise, measured: &mut Measured) {
        if promise != Promise::PowerLoss {
            return;
        }
        for store in StoreKind::DURABLE {
            for (to, least) in targets(store, self.record_bytes, self.tasks) {
                let tasks = self.tasks_in_words();
                let size = bytes(self.record_bytes);
                let what = format!("{store}: records of {size}, {tasks}, against {to}");
                let least = verdict::Target::AtLeast(least);
                measured.judge(Verdict::new(what, least, self.ratio(store, to), multiple));
            }
        }
    }
}

/// A store's targets, as multiples of comparators.
fn targets(store: StoreKind, record_bytes: u64, tasks: u64) -> Vec<(Contender, f64)> {
    match (store, record_bytes, tasks) {
        (StoreKind::Sled, KIB, 1 | 64 | 512) => {
            vec![(Contender::Store(StoreKind::Journal), 0.85)]
        }
        (StoreKind::Journal, KIB, 1) => vec![(Contender::Raw, 0.75)],
        (StoreKind::Journal, KIB, 64 | 512) => vec![(Contender::Raw, 0.8)],
        (StoreKind::Journal, 100, 64) => vec![(Contender::Raw, 0.6)],
        _ => Vec::new(),
    }
}
