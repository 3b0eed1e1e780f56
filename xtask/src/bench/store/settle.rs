//! Measures reading and settling one batch, by the number of records behind it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use record_cache::Settlement;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fill::{BATCH, fill};
use crate::bench::amount::{KIB, bytes, duration, multiple, number};
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

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let sizes: &[(u64, &[usize])] = match effort {
        Effort::Full => &[
            (KIB, &[1_000, 100_000, 1_000_000]),
            (100, &[1_000, 20_000_000]),
        ],
        Effort::Quick => &[(KIB, &[1_000, 100_000])],
    };
    let mut table = Table::new(
        "A batch of 500 records: median of the batches",
        "store | record | cached records | read | settle | both | ÷ fewest",
    );
    for (store, (record_bytes, levels)) in StoreKind::DURABLE
        .into_iter()
        .flat_map(|store| sizes.iter().map(move |size| (store, size)))
    {
        measured.begin(format!("{store}: reading and settling a batch"));
        let directory = place::directory()?;
        let settle = Settle {
            store,
            directory: directory.path().to_owned(),
            record_bytes: *record_bytes,
            levels: levels.to_vec(),
            batches: effort.batches(),
        };
        let settled = measure(&settle).await?;
        let both = |level: usize| -> Series {
            let pairs = settled.read[level].iter().zip(&settled.settle[level]);
            pairs.map(|(read, settle)| read + settle).collect()
        };
        for (level, records) in levels.iter().enumerate() {
            let median = |times: &[f64]| times.iter().copied().collect::<Series>().median();
            let ratio = both(level).median() / both(0).median();
            table.row([
                store.to_string(),
                bytes(*record_bytes),
                number(*records as f64),
                duration(median(&settled.read[level])),
                duration(median(&settled.settle[level])),
                duration(both(level).median()),
                multiple(ratio),
            ]);
            if level + 1 == levels.len() {
                let what = format!(
                    "{store}: a batch with {} records of {} cached, against 1k",
                    number(*records as f64),
                    bytes(*record_bytes)
                );
                let ratio = [ratio].into_iter().collect();
                measured.judge(Verdict::new(what, Target::AtMost(1.2), ratio, multiple));
            }
        }
    }
    measured.table(table);
    Ok(())
}
