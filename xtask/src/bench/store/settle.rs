//! Measures reading and settling one batch, by the number of records behind it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use record_cache::Settlement;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fill::{BATCH, fill};
use crate::bench::amount::{KIB, bytes, duration, multiple, number, spread};
use crate::bench::contender::{self, Promise, StoreKind, data_of_record, stream};
use crate::bench::prelude::*;

/// Stores with few and many records, measured in turn, one batch each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settle {
    store: StoreKind,
    directory: PathBuf,
    record_bytes: u64,
    levels: Vec<usize>,
    batches: usize,
}

/// Seconds, for each level and batch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settled {
    read: Vec<Vec<f64>>,
    settle: Vec<Vec<f64>>,
}

impl Job for Settle {
    const NAME: &'static str = "settle";
    type Output = Settled;

    async fn run(self) -> Result<Settled> {
        let most = self.levels.iter().copied().max().unwrap_or_default();
        let expected = 2 * self.record_bytes * most as u64;
        let (data, stream) = (data_of_record(self.record_bytes)?, stream("bench")?);
        let mut stores = Vec::new();
        for level in &self.levels {
            let place = self.directory.join(level.to_string());
            let store = contender::open(self.store, &place, Promise::PowerLoss, expected).await?;
            fill(&store, &stream, &data, *level).await?;
            stores.push(store);
        }
        let mut read = vec![Vec::new(); self.levels.len()];
        let mut settle = read.clone();
        for _ in 0..self.batches {
            for (level, store) in stores.iter().enumerate() {
                let start = Instant::now();
                let batch = store.oldest(&stream, None, BATCH).await?;
                read[level].push(start.elapsed().as_secs_f64());
                let ids = batch.records.iter().map(|record| record.id);
                let settlement = Settlement::new(stream.clone()).delete(ids);
                let start = Instant::now();
                let removed = store.settle(settlement).await?;
                settle[level].push(start.elapsed().as_secs_f64());
                if removed.records != BATCH.max_records.get() {
                    bail!("{} records were settled", removed.records);
                }
                fill(store, &stream, &data, removed.records).await?;
            }
        }
        for store in stores {
            store.close().await?;
        }
        Ok(Settled { read, settle })
    }
}

/// The median batch of each round, in seconds.
#[derive(Debug, Clone, Default)]
struct Times {
    read: Series,
    settle: Series,
    both: Series,
}

impl Times {
    fn push(&mut self, read: Vec<f64>, settle: Vec<f64>) {
        let both: Series = read.iter().zip(&settle).map(|(a, b)| a + b).collect();
        self.both.push(both.median());
        self.read
            .push(read.into_iter().collect::<Series>().median());
        self.settle
            .push(settle.into_iter().collect::<Series>().median());
    }
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let sizes: &[(u64, &[usize])] = match effort {
        Effort::Full => &[
            (KIB, &[1_000, 100_000, 1_000_000]),
            (100, &[1_000, 20_000_000]),
        ],
        Effort::Quick => &[(KIB, &[1_000, 100_000])],
    };
    let mut table = Table::new(
        "A batch of 500 records: median batch of a round (least–most of the rounds)",
        "store | record | cached records | read | settle | both | ÷ fewest",
    );
    for (store, (record_bytes, levels)) in StoreKind::DURABLE
        .into_iter()
        .flat_map(|store| sizes.iter().map(move |size| (store, size)))
    {
        measured.begin(format!("{store}: reading and settling a batch"));
        let directory = place::directory()?;
        let mut times = vec![Times::default(); levels.len()];
        for round in effort.rounds(3, Duration::from_secs(90)) {
            let place = directory.path().join(round.to_string());
            let settle = Settle {
                store,
                directory: place.clone(),
                record_bytes: *record_bytes,
                levels: levels.to_vec(),
                batches: effort.batches(),
            };
            let settled = measure(&settle).await?;
            std::fs::remove_dir_all(place)?;
            let of_levels = settled.read.into_iter().zip(settled.settle);
            for (times, (read, settle)) in times.iter_mut().zip(of_levels) {
                times.push(read, settle);
            }
        }
        for (level, records) in levels.iter().enumerate() {
            let Times { read, settle, both } = &times[level];
            let ratio = both.over(&times[0].both);
            table.row([
                store.to_string(),
                bytes(*record_bytes),
                number(*records as f64),
                spread(read, duration),
                spread(settle, duration),
                spread(both, duration),
                spread(&ratio, multiple),
            ]);
            if level + 1 == levels.len() {
                let what = format!(
                    "{store}: a batch with {} records of {} cached, against 1k",
                    number(*records as f64),
                    bytes(*record_bytes)
                );
                measured.judge(Verdict::new(what, Target::AtMost(1.2), ratio, multiple));
            }
        }
    }
    measured.table(table);
    Ok(())
}
