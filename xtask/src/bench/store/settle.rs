//! Measures reading and settling one batch, by the number of records behind it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use record_cache::Settlement;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fill::{BATCH, fill};
use crate::bench::amount::{KIB, duration, multiple, number, spread};
use crate::bench::contender::{self, Promise, StoreKind, data_of_record, stream};
use crate::bench::prelude::*;

const RECORD_BYTES: u64 = KIB;

/// Stores with few and many records, measured in turn, one batch each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settle {
    store: StoreKind,
    directory: PathBuf,
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
        let expected = 2 * RECORD_BYTES * most as u64;
        let (data, stream) = (data_of_record(RECORD_BYTES)?, stream("bench")?);
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
    let levels = match effort {
        Effort::Full => vec![1_000, 100_000, 1_000_000],
        Effort::Quick => vec![1_000, 100_000],
    };
    let mut table = Table::new(
        "A batch of 500 records of 1 KiB: median of the batches",
        "store | cached records | read | settle | both | ÷ fewest",
    );
    for store in StoreKind::DURABLE {
        measured.begin(format!("{store}: reading and settling a batch"));
        let directory = place::directory()?;
        let settle = Settle {
            store,
            directory: directory.path().to_owned(),
            levels: levels.clone(),
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
                number(*records as f64),
                duration(median(&settled.read[level])),
                duration(median(&settled.settle[level])),
                spread(&[both(level).median()].into_iter().collect(), duration),
                multiple(ratio),
            ]);
            if level + 1 == levels.len() {
                let what = format!(
                    "{store}: a batch with {} records cached, against 1k",
                    number(*records as f64)
                );
                let ratio = [ratio].into_iter().collect();
                measured.judge(Verdict::new(what, Target::AtMost(1.2), ratio, multiple));
            }
        }
    }
    measured.table(table);
    Ok(())
}
