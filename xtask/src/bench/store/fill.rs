//! Fills a store for a measurement.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use record_cache::{NewRecord, ReadLimits, RecordStore, StreamName};
use serde::{Deserialize, Serialize};

use crate::bench::contender::{self, KEY, Promise, StoreKind, data_of_record, stream};
use crate::bench::job::Job;

/// Records per call.
const GROUP_RECORDS: usize = 1000;
const GROUP_BYTES: usize = 2 * 1024 * 1024;

/// The limits of one request to the service.
pub(crate) const BATCH: ReadLimits = ReadLimits::new(
    NonZeroUsize::new(500).expect("not zero"),
    NonZeroU64::new(10 * 1024 * 1024).expect("not zero"),
);

/// Fills a directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fill {
    pub(crate) store: StoreKind,
    pub(crate) directory: PathBuf,
    pub(crate) expected_bytes: u64,
    pub(crate) records: usize,
    pub(crate) record_bytes: u64,
    pub(crate) end: End,
}

/// How the process that filled a directory ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Closed,
    /// As if killed.
    Killed,
}

impl Job for Fill {
    const NAME: &'static str = "fill";
    type Output = ();

    async fn run(self) -> Result<()> {
        let (directory, expected) = (&self.directory, self.expected_bytes);
        let store = contender::open(self.store, directory, Promise::PowerLoss, expected).await?;
        let data = data_of_record(self.record_bytes)?;
        fill(&store, &stream("bench")?, &data, self.records).await?;
        match self.end {
            End::Closed => store.close().await?,
            // Without it, dropping the last handle closes the store.
            End::Killed => std::mem::forget(store),
        }
        Ok(())
    }
}

/// Appends this many records, in large calls.
pub(crate) async fn fill(
    store: &Arc<dyn RecordStore>,
    stream: &StreamName,
    data: &Bytes,
    records: usize,
) -> Result<()> {
    let group = GROUP_RECORDS.min(GROUP_BYTES / data.len().max(1)).max(1);
    append(store, stream, data, records, group).await
}

/// Appends this many records, in calls of `group`.
pub(super) async fn append(
    store: &Arc<dyn RecordStore>,
    stream: &StreamName,
    data: &Bytes,
    records: usize,
    group: usize,
) -> Result<()> {
    let record = || NewRecord::new(stream.clone(), Some(KEY.to_owned()), data.clone());
    let mut left = records;
    while left > 0 {
        let now = group.min(left);
        store
            .append(std::iter::repeat_with(record).take(now).collect())
            .await?;
        left -= now;
    }
    Ok(())
}
