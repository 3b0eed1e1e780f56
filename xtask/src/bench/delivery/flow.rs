//! Measures the whole path: recording durably while delivering.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::{AmplifyKinesisClient, KinesisStream};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bare::{Bare, Meter, Sent};
use super::client::{self, Format};
use super::drain::{Rounds, Sender};
use super::endpoint::Endpoint;
use super::source::Source;
use crate::bench::amount::{KIB, MIB, multiple, number, spread};
use crate::bench::contender::{self, KEY, Promise, StoreKind, payload};
use crate::bench::prelude::*;

const IN_FLIGHT: usize = 4;
/// The cache limit; when it is reached, recording waits.
const CACHE_BYTES: u64 = 64 * MIB;

/// How long to wait before a run with the file dropped from memory. Seconds after a run, a virtual machine
/// may return to its host what was freed. Reading the file then, into memory that the host must
/// provide again, can double the kernel's CPU time.
const PAUSE: Duration = Duration::from_secs(3);

/// Records and delivers until everything is delivered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flow {
    store: StoreKind,
    directory: PathBuf,
    endpoint: String,
    source: Source,
    /// Tasks that record, each waiting for its own records.
    recorders: usize,
    /// Records per call.
    group: usize,
    /// The most requests in flight for one stream; over all streams, as many as the bare SDK's.
    in_flight: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flowed {
    sent: Sent,
    /// When the last record was durable.
    recorded_seconds: f64,
}

impl Job for Flow {
    const NAME: &'static str = "flow";
    type Output = Flowed;

    async fn run(self) -> Result<Flowed> {
        let store =
            contender::open(self.store, &self.directory, Promise::PowerLoss, CACHE_BYTES).await?;
        let builder = client::adaptive(&self.endpoint, CACHE_BYTES, self.in_flight).store(store);
        let client = builder.build().await?;
        let meter = Meter::start()?;
        let start = Instant::now();
        let recording = record(
            client.clone(),
            self.source,
            self.recorders,
            self.group,
            IN_FLIGHT / self.in_flight,
        );
        let recorded_at = tokio::spawn(recording).await??;
        while client.cache_stats().records > 0 {
            let drained = client.drain(client::LONG).await?;
            if let Some(skipped) = drained.skipped_streams.first() {
                bail!("the endpoint refused: {}", skipped.message);
            }
        }
        let sent = meter.stop()?;
        client.close().await?;
        Ok(Flowed {
            sent,
            recorded_seconds: (recorded_at - start).as_secs_f64(),
        })
    }
}

/// Records everything, and returns when the last record is durable.
async fn record(
    client: AmplifyKinesisClient,
    source: Source,
    recorders: usize,
    group: usize,
    streams: usize,
) -> Result<Instant> {
    let streams: Vec<KinesisStream> = (0..streams)
        .map(|number| client.stream(format!("bench-{number}")))
        .collect::<Result<_, _>>()?;
    let (sender, groups) = mpsc::channel(2 * recorders);
    let reading = tokio::task::spawn_blocking(move || {
        let mut streams = streams.iter().cycle();
        source.each_group(group, |group| {
            let stream = streams.next().cloned().context("no stream to record to")?;
            Ok(sender.blocking_send((stream, group))?)
        })
    });
    let groups = Arc::new(Mutex::new(groups));
    let mut recording = JoinSet::new();
    for _ in 0..recorders {
        let groups = Arc::clone(&groups);
        recording.spawn(async move {
            loop {
                let next = groups.lock().await.recv().await;
                let Some((stream, group)) = next else { break };
                let records = group.into_iter().map(|data| (data, KEY));
                stream.record_all(records).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = recording.join_next().await {
        ended??;
    }
    let end = Instant::now();
    reading.await??;
    Ok(end)
}

/// How records come in, and go out.
#[derive(Debug, Clone, Copy)]
struct Intake {
    name: &'static str,
    recorders: usize,
    group: usize,
    in_flight: usize,
}

impl Intake {
    const fn new(name: &'static str, recorders: usize, group: usize, in_flight: usize) -> Self {
        Self {
            name,
            recorders,
            group,
            in_flight,
        }
    }
}

const IN_GROUPS: [Intake; 5] = [
    Intake::new("1 task, 500 at once", 1, 500, 1),
    Intake::new("1 task, 2,000 at once", 1, 2000, 1),
    Intake::new("4 tasks, 500 at once", 4, 500, 1),
    Intake::new("1 task, 2,000 at once; 2 streams", 1, 2000, 2),
    Intake::new("4 tasks, 500 at once; 2 streams", 4, 500, 2),
];

const ONE_BY_ONE: Intake = Intake::new("64 tasks, one at a time", 64, 1, 1);

/// The endpoint's latency, and whether the file must be read from the disk.
#[derive(Debug, Clone, Copy)]
struct Conditions {
    latency: Duration,
    is_cold: bool,
}

impl Conditions {
    fn name(self) -> String {
        match (self.latency.as_millis(), self.is_cold) {
            (latency, false) => format!("{latency} ms"),
            (latency, true) => format!("{latency} ms, file not in memory"),
        }
    }

    const fn targets(self, store: StoreKind) -> Targets {
        let (rate, cpu) = match (store, self.is_cold) {
            (StoreKind::Sled, false) => (0.6, 5.0),
            (StoreKind::Sled, true) => (0.5, 5.0),
            (_, false) => (0.75, 4.0),
            (_, true) => (0.6, 4.0),
        };
        Targets { rate, cpu }
    }
}

struct Targets {
    /// At least this multiple of the bare SDK's rate.
    rate: f64,
    /// At most this many CPU seconds per million records.
    cpu: f64,
}

/// The bare SDK's CPU seconds per million records on the machine for which [`Targets::cpu`] was
/// set. On a slower machine, the ratio to the bare SDK of the same run tells more.
const BARE_CPU: f64 = 2.28;

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let directory = place::directory()?;
    let lines = directory.path().join("lines");
    let records = effort.records(500_000);
    write_lines(&lines, records)?;
    let header = format!(
        "latency | recorded by | {} | recorded after",
        Rounds::HEADER
    );
    let count = number(records as f64);
    let title = format!("{count} lines of 1 KiB from a file, recorded durably and delivered");
    let mut table = Table::new(title, &header);
    let mut groups = Vec::new();
    for (milliseconds, is_cold) in [(0, false), (0, true), (20, false)] {
        let latency = Duration::from_millis(milliseconds);
        let conditions = Conditions { latency, is_cold };
        measured.begin(format!("a whole file, {}", conditions.name()));
        let mut file = WholeFile::new(conditions, &lines, records);
        for _ in effort.rounds(5, Duration::from_secs(if is_cold { 400 } else { 150 })) {
            file.round().await?;
        }
        file.rows(&mut table);
        file.judge(measured);
        groups.push(file.bars());
    }
    measured.table(table);
    measured.chart(Chart {
        name: "flow",
        title:
            "From a file to the service: rate as a multiple of the bare SDK's, which stores nothing"
                .to_owned(),
        scale: Scale::Linear,
        text: multiple,
        groups,
    });
    Ok(())
}

/// One file, delivered in every way.
struct WholeFile<'a> {
    conditions: Conditions,
    lines: &'a Path,
    records: usize,
    bare: Rounds,
    ways: Vec<Way>,
}

/// One store, and how records come in and go out.
struct Way {
    store: StoreKind,
    intake: Intake,
    rounds: Rounds,
    recorded: Series,
}

impl<'a> WholeFile<'a> {
    fn new(conditions: Conditions, lines: &'a Path, records: usize) -> Self {
        let mut intakes = IN_GROUPS.to_vec();
        if !conditions.latency.is_zero() {
            intakes.push(ONE_BY_ONE);
        }
        let mut ways = Vec::new();
        for store in StoreKind::DURABLE {
            ways.extend(intakes.iter().map(|&intake| Way {
                store,
                intake,
                rounds: Rounds::default(),
                recorded: Series::default(),
            }));
        }
        Self {
            conditions,
            lines,
            records,
            bare: Rounds::default(),
            ways,
        }
    }

    async fn round(&mut self) -> Result<()> {
        if self.conditions.is_cold {
            tokio::time::sleep(PAUSE).await;
        }
        let endpoint = Endpoint::start(self.conditions.latency).await?;
        let sent = measure(&Bare {
            endpoint: endpoint.url.clone(),
            source: Source::Lines(self.lines.to_owned()),
            in_flight: IN_FLIGHT,
        })
        .await?;
        let counts = endpoint.counts().await?;
        self.bare.push(self.records, &sent, &counts)?;
        for way in &mut self.ways {
            if let (true, Some(directory)) = (self.conditions.is_cold, self.lines.parent()) {
                tokio::time::sleep(PAUSE).await;
                place::make_cold(directory)?;
            }
            let endpoint = Endpoint::start(self.conditions.latency).await?;
            let directory = place::directory()?;
            let flowed = measure(&Flow {
                store: way.store,
                directory: directory.path().to_owned(),
                endpoint: endpoint.url.clone(),
                source: Source::Lines(self.lines.to_owned()),
                recorders: way.intake.recorders,
                group: way.intake.group,
                in_flight: way.intake.in_flight,
            })
            .await?;
            way.recorded.push(flowed.recorded_seconds);
            let counts = endpoint.counts().await?;
            way.rounds.push(self.records, &flowed.sent, &counts)?;
        }
        Ok(())
    }

    fn rows(&self, table: &mut Table) {
        let mut row = vec![self.conditions.name(), "–".to_owned()];
        row.extend(self.bare.row(Sender::Bare, &self.bare));
        row.push("–".to_owned());
        table.row(row);
        for way in &self.ways {
            let mut row = vec![self.conditions.name(), way.intake.name.to_owned()];
            let sender = Sender::Client(way.store, Format::Cbor);
            row.extend(way.rounds.row(sender, &self.bare));
            row.push(spread(&way.recorded, |seconds| format!("{seconds:.1} s")));
            table.row(row);
        }
    }

    fn judge(&self, measured: &mut Measured) {
        let conditions = self.conditions.name();
        for store in StoreKind::DURABLE {
            let Some(best) = self.best(store) else {
                continue;
            };
            let case = format!("{store}: a whole file, {conditions}, {}", best.intake.name);
            let targets = self.conditions.targets(store);
            let ratio = best.rounds.rate.over(&self.bare.rate);
            let target = Target::AtLeast(targets.rate);
            measured.judge(Verdict::new(&case, target, ratio, multiple));
            let what = format!("{case}: CPU seconds per million records");
            let spent = best.rounds.cpu.clone();
            let target = Target::AtMost(targets.cpu);
            measured.judge(Verdict::new(what, target, spent, number));
            let what = format!("{case}: CPU as a multiple of the bare SDK's");
            let ratio = best.rounds.cpu.over(&self.bare.cpu);
            let target = Target::AtMost(targets.cpu / BARE_CPU);
            measured.judge(Verdict::new(what, target, ratio, multiple));
        }
        // Each intake has a price of its own, so both stores are compared with the same one.
        let Some(journal) = self.best(StoreKind::Journal) else {
            return;
        };
        let is_twin =
            |way: &&Way| way.store == StoreKind::Sled && way.intake.name == journal.intake.name;
        if let Some(sled) = self.ways.iter().find(is_twin) {
            let how = journal.intake.name;
            let case = format!("SledStore against JournalStore: a whole file, {conditions}, {how}");
            let ratio = sled.rounds.rate.over(&journal.rounds.rate);
            measured.judge(Verdict::new(&case, Target::AtLeast(0.85), ratio, multiple));
            let ratio = sled.rounds.cpu.over(&journal.rounds.cpu);
            let what = format!("{case}: CPU");
            measured.judge(Verdict::new(what, Target::AtMost(1.3), ratio, multiple));
        }
    }

    /// The best way of each store.
    fn bars(&self) -> Group {
        let bare = Bar {
            label: Sender::Bare.name(),
            value: 1.0,
            is_ours: false,
        };
        let ways = StoreKind::DURABLE
            .into_iter()
            .filter_map(|store| self.best(store));
        let bars = ways.map(|way| Bar {
            label: Sender::Client(way.store, Format::Cbor).name(),
            value: way.rounds.rate.over(&self.bare.rate).median(),
            is_ours: true,
        });
        Group {
            title: self.conditions.name(),
            bars: std::iter::once(bare).chain(bars).collect(),
        }
    }

    /// The fastest way of a store. If others are as fast, the one among them with the least CPU.
    fn best(&self, store: StoreKind) -> Option<&Way> {
        let ratio = |way: &Way| way.rounds.rate.over(&self.bare.rate).median();
        let of_store = || self.ways.iter().filter(|way| way.store == store);
        let fastest = of_store().map(ratio).fold(0.0, f64::max);
        let as_fast = of_store().filter(|way| ratio(way) >= 0.97 * fastest);
        as_fast.min_by(|a, b| {
            let cpu = |way: &Way| way.rounds.cpu.median();
            cpu(a).total_cmp(&cpu(b))
        })
    }
}

/// Writes lines of 1 KiB each, line ends included.
fn write_lines(path: &Path, lines: usize) -> Result<()> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut file = BufWriter::new(File::create(path)?);
    let random = payload(KIB / 2)?;
    for number in 0..lines {
        let mut line = format!("{number:010} ").into_bytes();
        let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        line.extend(digits.map(|digit| HEX[usize::from(digit)]));
        line.truncate(1023);
        line.push(b'\n');
        file.write_all(&line)?;
    }
    Ok(file.into_inner()?.sync_all()?)
}
