//! Opens what a power loss left. The inspection runs in a separate process, which may hang or
//! crash, and writes down what it finds.

use std::future::Future;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use record_cache::{NewRecord, ReadLimits, Record, RecordStore, StreamName};
use serde::{Deserialize, Serialize};

use super::payload::{key_of, number_of, payload};
use super::stores::Subject;
use super::workload::STREAMS;

/// Far longer than a store needs for a few megabytes.
const LIMIT: Duration = Duration::from_secs(30);

/// The first number of the records that the inspection appends.
const FIRST_PROBE: u64 = 1 << 40;
const PROBES_OF_STREAM: u64 = 2;

/// The findings of an inspection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The records, grouped by stream.
    pub records: Vec<Found>,
    /// Streams and ids of the new records that were accepted.
    pub probes: Vec<(String, u64)>,
    /// What went wrong.
    pub failures: Vec<String>,
    /// The number of damaged records that the store reported.
    pub damaged: u64,
    /// Whether the store moved anything aside.
    pub moved_aside: bool,
}

/// A record that was read back intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub stream: String,
    pub id: u64,
    pub number: u64,
    pub length: usize,
    pub attempts: u32,
}

/// Opens a store, reads everything, appends, closes, reopens and reads again.
pub async fn inspect(subject: Subject, place: &Path) -> Report {
    let mut report = Report::default();
    if let Err(what) = try_to_inspect(subject, place, &mut report).await {
        report.failures.push(what);
    }
    report
}

async fn try_to_inspect(subject: Subject, place: &Path, report: &mut Report) -> Result<(), String> {
    let store = in_time("open", subject.open(place)).await?;
    report.records = read_all(&*store, report).await?;
    report.damaged = store.stats().damaged_records;
    let counted = store.stats().records();
    if counted != report.records.len() {
        let there = report.records.len();
        let what = format!("the counters say {counted} records, there are {there}");
        report.failures.push(what);
    }

    let probes: Vec<NewRecord> = STREAMS
        .iter()
        .zip(0..)
        .flat_map(|(stream, index)| (0..PROBES_OF_STREAM).map(move |n| (stream, index * 10 + n)))
        .map(|(stream, n)| {
            let number = FIRST_PROBE + n;
            let length = if n % 10 == 0 { 40 } else { 9_000 };
            let stream = StreamName::new(*stream).unwrap();
            NewRecord::new(stream, key_of(number), payload(number, length))
        })
        .collect();
    let expected = probes.len();
    in_time("append", store.append(probes)).await?;
    in_time("close", store.close()).await?;
    drop(store);

    let store = in_time("open", subject.open(place)).await?;
    let again = read_all(&*store, report).await?;
    let (probes, others): (Vec<Found>, Vec<Found>) = again
        .into_iter()
        .partition(|found| found.number >= FIRST_PROBE);
    if probes.len() != expected {
        let what = format!("of {expected} new records {} are there", probes.len());
        report.failures.push(what);
    }
    if others != report.records {
        let what = format!(
            "after a restart there are other records: {} instead of {}",
            others.len(),
            report.records.len()
        );
        report.failures.push(what);
    }
    report.probes = probes
        .into_iter()
        .map(|found| (found.stream, found.id))
        .collect();
    in_time("close", store.close()).await?;
    let aside = place.read_dir().map_err(|error| error.to_string())?;
    report.moved_aside = aside
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("corrupt-"));
    Ok(())
}

async fn read_all(store: &dyn RecordStore, report: &mut Report) -> Result<Vec<Found>, String> {
    let limits = ReadLimits::new(
        NonZeroUsize::new(100).unwrap(),
        NonZeroU64::new(1 << 20).unwrap(),
    );
    let mut found = Vec::new();
    for name in STREAMS {
        let stream = StreamName::new(*name).unwrap();
        let mut after = None;
        loop {
            let batch = in_time("oldest", store.oldest(&stream, after, limits)).await?;
            let Some(last) = batch.records.last() else {
                break;
            };
            after = Some(last.id);
            for record in &batch.records {
                match recognise(name, record) {
                    Some(record) => found.push(record),
                    None => {
                        let id = record.id.get();
                        let what = format!("a wrong payload: stream={name}, id={id}");
                        report.failures.push(what);
                    }
                }
            }
        }
    }
    Ok(found)
}

fn recognise(stream: &str, record: &Record) -> Option<Found> {
    let number = number_of(&record.data).filter(|number| record.key == key_of(*number))?;
    Some(Found {
        stream: stream.to_owned(),
        id: record.id.get(),
        number,
        length: record.data.len(),
        attempts: record.attempts,
    })
}

async fn in_time<T, E: std::fmt::Display>(
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{what} failed: {error}")),
        Err(_) => Err(format!("{what} hangs")),
    }
}
