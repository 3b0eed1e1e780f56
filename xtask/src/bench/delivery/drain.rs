//! Measures draining a cache.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::bare::{self, Bare, Meter, Sent};
use super::client::{self, Format};
use super::endpoint::{Counts, Endpoint};
use super::source::Source;
use crate::bench::amount::{KIB, bytes, multiple, number, size, spread};
use crate::bench::contender::{self, Promise, StoreKind, data_of_record, stream};
use crate::bench::prelude::*;
use crate::bench::store::fill::fill;

/// Fills a cache, then drains it. Each stream has one request in flight.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drain {
    store: StoreKind,
    format: Format,
    directory: PathBuf,
    endpoint: String,
    streams: usize,
    records: usize,
    record_bytes: u64,
    /// Records of one stream before the next stream's turn.
    turn: usize,
}

impl Job for Drain {
    const NAME: &'static str = "drain";
    type Output = Sent;

    async fn run(self) -> Result<Sent> {
        let held = self.record_bytes * self.records as u64;
        let store = contender::open(self.store, &self.directory, Promise::PowerLoss, held).await?;
        let data = data_of_record(self.record_bytes)?;
        let of_each = self.records / self.streams;
        let mut filled = 0;
        while filled < of_each {
            let turn = self.turn.min(of_each - filled);
            for number in 0..self.streams {
                let stream = stream(&format!("bench-{number}"))?;
                fill(&store, &stream, &data, turn).await?;
            }
            filled += turn;
        }
        let client = client::builder(&self.endpoint, self.format)
            .store(store)
            .build()
            .await?;
        let meter = Meter::start()?;
        while client.cache_stats().records > 0 {
            let drained = client.drain(client::LONG).await?;
            if let Some(skipped) = drained.skipped_streams.first() {
                bail!("the endpoint refused: {}", skipped.message);
            }
        }
        let sent = meter.stop()?;
        client.close().await?;
        Ok(sent)
    }
}

/// The sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Bare,
    Client(StoreKind, Format),
}

impl Sender {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Bare, Self::Client(StoreKind::Memory, Format::Cbor)];
        for store in StoreKind::DURABLE {
            all.extend([Format::Cbor, Format::Json].map(|format| Self::Client(store, format)));
        }
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Bare => "bare SDK".to_owned(),
            Self::Client(store, Format::Cbor) => format!("client, {store}"),
            Self::Client(store, Format::Json) => format!("client, {store}, JSON"),
        }
    }
}

/// One sender's rounds.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) rate: Series,
    pub(crate) cpu: Series,
    endpoint_cpu: Series,
    memory: Series,
    requests: Series,
    repeated: usize,
}

impl Rounds {
    pub(crate) fn push(&mut self, records: usize, sent: &Sent, counts: &Counts) -> Result<()> {
        let million = records as f64 / 1e6;
        self.rate.push(records as f64 / sent.seconds);
        self.cpu.push(sent.cpu_seconds / million);
        self.endpoint_cpu.push(counts.cpu_seconds / million);
        self.memory.push(sent.memory_bytes as f64);
        self.requests.push(counts.requests as f64);
        match counts.records.checked_sub(records) {
            Some(repeated) => self.repeated += repeated,
            None => bail!("{} of {records} records arrived", counts.records),
        }
        Ok(())
    }

    pub(crate) const HEADER: &str = "sender | records/s | ÷ bare | CPU s per million | \
        endpoint's CPU s | requests | repeated records | memory";

    pub(crate) fn row(&self, sender: Sender, bare: &Self) -> Vec<String> {
        vec![
            sender.name(),
            spread(&self.rate, number),
            spread(&self.rate.over(&bare.rate), multiple),
            spread(&self.cpu, number),
            number(self.endpoint_cpu.median()),
            number(self.requests.median()),
            self.repeated.to_string(),
            size(self.memory.median()),
        ]
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    records: usize,
    record_bytes: u64,
    in_flight: usize,
    filled: Filled,
    latency: Duration,
}

/// The order in which the records of several streams were recorded.
#[derive(Debug, Clone, Copy)]
enum Filled {
    /// One batch of each stream in turn.
    InTurn,
    /// All of one stream, then all of the next.
    OneByOne,
}

impl Filled {
    const fn name(self) -> &'static str {
        match self {
            Self::InTurn => "in turn",
            Self::OneByOne => "stream by stream",
        }
    }

    const fn turn(self) -> usize {
        match self {
            Self::InTurn => bare::BATCH,
            Self::OneByOne => usize::MAX,
        }
    }
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let mut cases = Vec::new();
    for latency in [0, 20].map(Duration::from_millis) {
        for (records, record_bytes, in_flight, filled) in [
            (200_000, KIB, 1, Filled::InTurn),
            (200_000, KIB, 4, Filled::InTurn),
            (200_000, KIB, 4, Filled::OneByOne),
            // Enough batches even with few rounds.
            (60_000, 16 * KIB, 1, Filled::InTurn),
        ] {
            cases.push(Case {
                records: effort.records(records),
                record_bytes,
                in_flight,
                filled,
                latency,
            });
        }
    }
    let header = format!(
        "records | in flight | recorded | latency | {}",
        Rounds::HEADER
    );
    let mut table = Table::new("Draining: median (least–most)", &header);
    let mut groups = Vec::new();
    for case in cases {
        let records = format!(
            "{} × {}",
            number(case.records as f64),
            bytes(case.record_bytes)
        );
        let latency = format!("{} ms", case.latency.as_millis());
        measured.begin(format!(
            "draining {records}, {} in flight, recorded {}, {latency}",
            case.in_flight,
            case.filled.name()
        ));
        let rounds = case.measure(effort).await?;
        let Some((_, bare)) = rounds.first() else {
            continue;
        };
        groups.push(Group {
            title: format!(
                "{}, {} in flight, recorded {}, {latency}",
                bytes(case.record_bytes),
                case.in_flight,
                case.filled.name()
            ),
            bars: bars(&rounds),
        });
        for (sender, of_sender) in &rounds {
            let filled = match case.in_flight {
                1 => "–".to_owned(),
                _ => case.filled.name().to_owned(),
            };
            let mut row = vec![
                records.clone(),
                case.in_flight.to_string(),
                filled,
                latency.clone(),
            ];
            row.extend(of_sender.row(*sender, bare));
            table.row(row);
            let Sender::Client(store, format) = *sender else {
                continue;
            };
            let several = match case.in_flight {
                1 => String::new(),
                _ => format!(", recorded {}", case.filled.name()),
            };
            let what = format!(
                "draining {records}, {} in flight{several}, {latency}",
                case.in_flight
            );
            let mut judge = |of: String, least, to: &Rounds| {
                let ratio = of_sender.rate.over(&to.rate);
                let target = Target::AtLeast(least);
                measured.judge(Verdict::new(
                    format!("{of}: {what}"),
                    target,
                    ratio,
                    multiple,
                ));
            };
            if store == StoreKind::Journal {
                let least = match format {
                    _ if !case.latency.is_zero() => 0.98,
                    Format::Cbor => 1.2,
                    Format::Json => 0.9,
                };
                judge(sender.name(), least, bare);
            }
            let journal = Sender::Client(StoreKind::Journal, format);
            let journal = rounds.iter().find(|(known, _)| *known == journal);
            if let (StoreKind::Sled, Some((_, journal))) = (store, journal) {
                judge(
                    format!("{}, against JournalStore", sender.name()),
                    0.95,
                    journal,
                );
            }
        }
    }
    measured.table(table);
    measured.chart(Chart {
        name: "drain",
        title: "Draining: records per second, as a multiple of the bare SDK's".to_owned(),
        scale: Scale::Linear,
        text: multiple,
        groups,
    });
    Ok(())
}

/// Each sender's rate as a multiple of the first one's.
fn bars(rounds: &[(Sender, Rounds)]) -> Vec<Bar> {
    let Some((_, bare)) = rounds.first() else {
        return Vec::new();
    };
    let bars = rounds.iter().map(|(sender, of_sender)| Bar {
        label: sender.name(),
        value: of_sender.rate.over(&bare.rate).median(),
        is_ours: *sender != Sender::Bare,
    });
    bars.collect()
}

impl Case {
    async fn measure(self, effort: Effort) -> Result<Vec<(Sender, Rounds)>> {
        let mut rounds: Vec<_> = Sender::all()
            .into_iter()
            .map(|sender| (sender, Rounds::default()))
            .collect();
        for round in effort.rounds(9, Duration::from_secs(45)) {
            for turn in 0..rounds.len() {
                let at = (round + turn) % rounds.len();
                let (sender, of_sender) = &mut rounds[at];
                let endpoint = Endpoint::start(self.latency).await?;
                let sent = self.send(*sender, &endpoint.url).await?;
                of_sender.push(self.records, &sent, &endpoint.counts().await?)?;
            }
        }
        Ok(rounds)
    }

    async fn send(self, sender: Sender, endpoint: &str) -> Result<Sent> {
        let endpoint = endpoint.to_owned();
        match sender {
            Sender::Bare => {
                let source = Source::Generated {
                    records: self.records,
                    record_bytes: self.record_bytes,
                };
                let bare = Bare {
                    endpoint,
                    source,
                    in_flight: self.in_flight,
                };
                measure(&bare).await
            }
            Sender::Client(store, format) => {
                let directory = place::directory()?;
                let drain = Drain {
                    store,
                    format,
                    directory: directory.path().to_owned(),
                    endpoint,
                    streams: self.in_flight,
                    records: self.records,
                    record_bytes: self.record_bytes,
                    turn: self.filled.turn(),
                };
                measure(&drain).await
            }
        }
    }
}
