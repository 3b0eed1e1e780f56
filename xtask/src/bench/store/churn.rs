//! Measures disk and memory while records come and go.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use record_cache::{ReadLimits, RecordStore, Settlement};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::fill::{self, append, fill};
use crate::bench::amount::{self, GIB, KIB, MIB, bytes, number};
use crate::bench::contender::{self, Promise, StoreKind, data_of_record, stream};
use crate::bench::delivery::client::{self, Format};
use crate::bench::prelude::*;
use crate::bench::process;

/// Records appended per call.
const GROUP: usize = 8;

/// Keeps a store at its cap while records come and go, then empties it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Churn {
    store: StoreKind,
    directory: PathBuf,
    shape: Shape,
    cap_bytes: u64,
    record_bytes: u64,
    /// Bytes of records that pass through after the store is full.
    passing_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shape {
    /// One stream.
    Steady,
    /// Three fifths belong to a stream that delivers nothing.
    Stalled,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Churned {
    /// The 90th percentile of the samples.
    usual_disk_bytes: u64,
    peak_disk_bytes: u64,
    empty_disk_bytes: u64,
    /// Bytes above a client with an empty cache.
    memory_bytes: u64,
    mib_per_second: f64,
}

impl Job for Churn {
    const NAME: &'static str = "churn";
    type Output = Churned;

    async fn run(self) -> Result<Churned> {
        let idle = client::builder("http://127.0.0.1:9", Format::Cbor)
            .in_memory()
            .build()
            .await?;
        let idle_bytes = process::resident_bytes()?;
        process::forget_peak()?;
        let (directory, cap) = (&self.directory, self.cap_bytes);
        let store = contender::open(self.store, directory, Promise::PowerLoss, cap).await?;
        let (end, ended) = oneshot::channel();
        let sampler = tokio::spawn(sample(self.directory.clone(), ended));
        let mib_per_second = self.churn(&store).await?;
        self.empty(&store).await?;
        let memory_bytes = process::peak_bytes()?.saturating_sub(idle_bytes);
        drop(end);
        let mut samples = sampler.await?;
        let empty_disk_bytes = settled_size(&self.directory).await;
        store.close().await?;
        drop(idle);
        samples.sort_unstable();
        let usual = samples.get(samples.len() * 9 / 10);
        Ok(Churned {
            usual_disk_bytes: usual.copied().unwrap_or_default(),
            peak_disk_bytes: samples.last().copied().unwrap_or_default(),
            empty_disk_bytes,
            memory_bytes,
            mib_per_second,
        })
    }
}

impl Churn {
    async fn churn(&self, store: &Arc<dyn RecordStore>) -> Result<f64> {
        let data = data_of_record(self.record_bytes)?;
        let (busy, stalled) = (stream("busy")?, stream("stalled")?);
        let records = usize::try_from(self.cap_bytes / self.record_bytes)?;
        let busy_records = match self.shape {
            Shape::Steady => {
                fill(store, &busy, &data, records).await?;
                records
            }
            Shape::Stalled => {
                for _ in 0..records / 5 {
                    append(store, &stalled, &data, 3, GROUP).await?;
                    append(store, &busy, &data, 2, GROUP).await?;
                }
                records / 5 * 2
            }
        };
        let max_bytes = NonZeroU64::MIN.saturating_add(10 * MIB - 1);
        let max_records = NonZeroUsize::MIN.saturating_add((busy_records / 4).clamp(1, 500) - 1);
        let limits = ReadLimits::new(max_records, max_bytes);
        let start = Instant::now();
        let mut passed = 0;
        while passed < self.passing_bytes {
            let batch = store.oldest(&busy, None, limits).await?;
            let ids = batch.records.iter().map(|record| record.id);
            let delivered = Settlement::new(busy.clone()).delete(ids);
            let removed = store.settle(delivered).await?;
            passed += removed.bytes;
            append(store, &busy, &data, removed.records, GROUP).await?;
        }
        Ok(passed as f64 / MIB as f64 / start.elapsed().as_secs_f64())
    }

    async fn empty(&self, store: &Arc<dyn RecordStore>) -> Result<()> {
        for stream in [stream("busy")?, stream("stalled")?] {
            loop {
                let batch = store.oldest(&stream, None, fill::BATCH).await?;
                if batch.records.is_empty() {
                    break;
                }
                let ids = batch.records.iter().map(|record| record.id);
                let delivered = Settlement::new(stream.clone()).delete(ids);
                store.settle(delivered).await?;
            }
        }
        Ok(())
    }
}

/// Reads the disk usage again and again, until `end` is dropped.
async fn sample(directory: PathBuf, mut end: oneshot::Receiver<()>) -> Vec<u64> {
    let mut samples = Vec::new();
    loop {
        samples.push(place::allocated(&directory));
        let pause = Duration::from_millis(1);
        if timeout(pause, &mut end).await.is_ok() {
            return samples;
        }
    }
}

/// The disk usage once it no longer shrinks.
async fn settled_size(directory: &Path) -> u64 {
    let mut least = place::allocated(directory);
    let mut unchanged = 0;
    while unchanged < 20 {
        sleep(Duration::from_millis(10)).await;
        let size = place::allocated(directory);
        unchanged = if size < least { 0 } else { unchanged + 1 };
        least = least.min(size);
    }
    least
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    const CAP: u64 = 5 * MIB;
    let passing = effort.passing_bytes();
    let mut cases = vec![
        (Shape::Steady, CAP, KIB, passing),
        (Shape::Stalled, CAP, KIB, passing),
    ];
    if effort == Effort::Full {
        cases.extend([100, 16 * KIB, MIB].map(|record| (Shape::Steady, CAP, record, passing)));
        cases.push((Shape::Steady, GIB, KIB, passing));
    }
    let mut table = Table::new(
        "Disk and memory under churn",
        "store | cached | record | stream | disk, usually | disk, peak | disk, empty | \
         memory above idle | MiB/s",
    );
    for store in StoreKind::DURABLE {
        measured.begin(format!("{store}: churn"));
        for &(shape, cap_bytes, record_bytes, passing_bytes) in &cases {
            let directory = place::directory()?;
            let churn = Churn {
                store,
                directory: directory.path().to_owned(),
                shape,
                cap_bytes,
                record_bytes,
                // There are many small records.
                passing_bytes: passing_bytes / if record_bytes < KIB { 8 } else { 1 },
            };
            let churned = measure(&churn).await?;
            table.row([
                store.to_string(),
                bytes(cap_bytes),
                bytes(record_bytes),
                match shape {
                    Shape::Steady => "moving".to_owned(),
                    Shape::Stalled => "3 of 5 stalled".to_owned(),
                },
                bytes(churned.usual_disk_bytes),
                bytes(churned.peak_disk_bytes),
                bytes(churned.empty_disk_bytes),
                bytes(churned.memory_bytes),
                number(churned.mib_per_second),
            ]);
            judge(&churn, &churned, measured);
        }
    }
    measured.table(table);
    Ok(())
}

fn judge(churn: &Churn, churned: &Churned, measured: &mut Measured) {
    let (store, cap) = (churn.store, churn.cap_bytes);
    let stalled = match churn.shape {
        Shape::Steady => "",
        Shape::Stalled => ", a stream stalled",
    };
    let (cached, record) = (bytes(cap), bytes(churn.record_bytes));
    let case = format!("{store}: {cached} cached in {record} records{stalled}");
    let mut judge = |what: &str, most: u64, value: u64| {
        let (what, most) = (format!("{case}: {what}"), Target::AtMost(most as f64));
        let value = [value as f64].into_iter().collect();
        measured.judge(Verdict::new(what, most, value, amount::size));
    };
    // The segment size that the store chooses.
    let segment = (cap / 4).clamp(4 * MIB, 64 * MIB);
    // An index on disk has its own bound.
    let index_mib = if store == StoreKind::Sled { 16 } else { 0 };
    let most = 2 * cap + 2 * segment + index_mib * MIB;
    judge("disk, peak", most, churned.peak_disk_bytes);
    judge("disk, empty", segment, churned.empty_disk_bytes);
    if cap == GIB {
        judge("memory above idle", 64 * MIB, churned.memory_bytes);
    } else if store == StoreKind::Sled {
        judge("memory above idle", 24 * MIB, churned.memory_bytes);
    }
}
