//! Measures what events cost, with and without shared records: records, bytes on the wire, billed
//! units and CPU.

use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions, FirehoseRecord};
use amplify_kinesis::{
    Aggregation, Compression, Concatenation, FlushData, FlushStrategy, KinesisRecord, KplLimits,
};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::bare::{Meter, Sent};
use super::client;
use super::endpoint::{Counts, Endpoint};
use crate::bench::amount::{GIB, KIB, MIB, bytes, multiple, number, size, spread};
use crate::bench::prelude::*;

const STREAM: &str = "bench";
const LATENCY: Duration = Duration::from_millis(20);
/// Event bytes per round.
const PAYLOAD: u64 = 32 * MIB;
/// Firehose bills each record in units of this size.
const FIREHOSE_UNIT: u64 = 5 * KIB;
/// Kinesis bills the payload of each record in units of this size, for provisioned shards.
const KINESIS_UNIT: u64 = 25 * KIB;

/// A service, and how events share its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    Kinesis,
    KinesisKpl,
    Firehose,
    FirehoseJoined,
    FirehoseGzip,
}

impl How {
    const ALL: [Self; 5] = [
        Self::Kinesis,
        Self::KinesisKpl,
        Self::Firehose,
        Self::FirehoseJoined,
        Self::FirehoseGzip,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Kinesis => "Kinesis, each a record",
            Self::KinesisKpl => "Kinesis, KPL",
            Self::Firehose => "Firehose, each a record",
            Self::FirehoseJoined => "Firehose, joined",
            Self::FirehoseGzip => "Firehose, joined, gzip",
        }
    }

    /// The index of its baseline.
    const fn plain(self) -> usize {
        match self {
            Self::Kinesis | Self::KinesisKpl => 0,
            Self::Firehose | Self::FirehoseJoined | Self::FirehoseGzip => 2,
        }
    }

    const fn unit(self) -> u64 {
        match self {
            Self::Kinesis | Self::KinesisKpl => KINESIS_UNIT,
            Self::Firehose | Self::FirehoseJoined | Self::FirehoseGzip => FIREHOSE_UNIT,
        }
    }
}

/// Delivers events from memory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    how: How,
    endpoint: String,
    events: usize,
    event_bytes: u64,
}

impl Job for Cost {
    const NAME: &'static str = "cost";
    type Output = Sent;

    async fn run(self) -> Result<Sent> {
        match self.how {
            How::Kinesis => self.kinesis(Aggregation::None).await,
            How::KinesisKpl => self.kinesis(Aggregation::Kpl(KplLimits::default())).await,
            How::Firehose => self.firehose(None).await,
            How::FirehoseJoined => self.firehose(Some(Compression::None)).await,
            How::FirehoseGzip => self.firehose(Some(Compression::Gzip)).await,
        }
    }
}

impl Cost {
    async fn kinesis(self, aggregation: Aggregation) -> Result<Sent> {
        let options = client::options(4 * GIB, FlushStrategy::None, 1).aggregation(aggregation);
        let client = client::with(&self.endpoint, options).in_memory();
        let client = client.build().await?;
        for from in (0..self.events).step_by(1_000) {
            let events = (from..self.events.min(from + 1_000)).map(|n| {
                KinesisRecord::new(self.event(n), format!("device-{}", n % 1_000), STREAM)
            });
            client.record_all(events).await?;
        }
        let sent = self.measure(client.drain(client::LONG)).await?;
        client.close().await?;
        Ok(sent)
    }

    async fn firehose(self, joined: Option<Compression>) -> Result<Sent> {
        let mut options = AmplifyFirehoseClientOptions::default()
            .cache_max_bytes(4 * GIB)
            .flush_strategy(FlushStrategy::None);
        if let Some(compression) = joined {
            let joined = Concatenation::default().compression(compression);
            options = options.aggregation(amplify_firehose::Aggregation::Concatenate(joined));
        }
        let client = AmplifyFirehoseClient::builder()
            .region(client::REGION)
            .credentials_provider(client::credentials())
            .endpoint_url(&self.endpoint)
            .options(options)
            .in_memory()
            .build()
            .await?;
        for from in (0..self.events).step_by(1_000) {
            let events = (from..self.events.min(from + 1_000))
                .map(|n| FirehoseRecord::new(self.event(n), STREAM));
            client.record_all(events).await?;
        }
        let sent = self.measure(client.drain(client::LONG)).await?;
        client.close().await?;
        Ok(sent)
    }

    /// Measures a drain that delivers all events.
    async fn measure<E>(&self, drain: impl Future<Output = Result<FlushData, E>>) -> Result<Sent>
    where
        anyhow::Error: From<E>,
    {
        let meter = Meter::start()?;
        let delivered = drain.await?.records_flushed;
        let sent = meter.stop()?;
        if delivered != self.events {
            bail!("{delivered} of {} events were delivered", self.events);
        }
        Ok(sent)
    }

    /// A log line: words, and numbers unique to the line.
    fn event(&self, number: usize) -> String {
        const WORDS: [&str; 16] = [
            "info", "warn", "request", "answer", "device", "opened", "closed", "session", "user",
            "battery", "sensor", "retry", "latency", "bytes", "region", "upload",
        ];
        let length = usize::try_from(self.event_bytes).unwrap_or(usize::MAX);
        let mut line = format!("{{\"n\":{number},\"text\":\"");
        let mut dice = number as u64 ^ 0x9E37_79B9_7F4A_7C15;
        while line.len() + 2 < length {
            dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let word = WORDS[usize::try_from(dice >> 60).unwrap_or_default()];
            line.push_str(word);
            line.push_str(&format!("={} ", (dice >> 32) % 10_000));
        }
        line.truncate(length - 2);
        line.push_str("\"}");
        line
    }
}

#[derive(Debug, Default)]
struct Rounds {
    rate: Series,
    cpu: Series,
    memory: Series,
    counts: Option<Counts>,
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let header = "a million events of | sent to | events/s | ÷ each a record | requests | records | \
         bytes on the wire | billed units | CPU s | memory";
    let mut groups = Vec::new();
    let mut table = Table::new("What events cost: median (least–most), 20 ms", header);
    for event_bytes in [100, KIB, 10 * KIB] {
        let payload = effort.records(usize::try_from(PAYLOAD)?) as u64;
        let events = usize::try_from((payload / event_bytes).max(2_000))?;
        measured.begin(format!("cost of events of {}", bytes(event_bytes)));
        let mut all: Vec<_> = How::ALL.map(|how| (how, Rounds::default())).into();
        for round in effort.rounds(3, Duration::from_secs(60)) {
            for turn in 0..all.len() {
                let at = (round + turn) % all.len();
                let (how, rounds) = &mut all[at];
                let endpoint = Endpoint::start_keeping(LATENCY).await?;
                let cost = Cost {
                    how: *how,
                    endpoint: endpoint.url.clone(),
                    events,
                    event_bytes,
                };
                let sent = measure(&cost).await?;
                rounds.rate.push(events as f64 / sent.seconds);
                rounds.cpu.push(sent.cpu_seconds / events as f64 * 1e6);
                rounds.memory.push(sent.memory_bytes as f64);
                rounds.counts = Some(endpoint.counts().await?);
            }
        }
        let of_a_million = |count: u64| count as f64 / events as f64 * 1e6;
        // Each service has units of its own, so only shares can stand on one scale.
        let billed = |at: usize| {
            let (how, rounds) = &all[at];
            let counts = rounds.counts.as_ref();
            counts.map_or(0.0, |counts| units(counts, how) as f64)
        };
        let bars = all.iter().enumerate().map(|(at, (how, _))| Bar {
            label: how.name().to_owned(),
            value: billed(at) / billed(how.plain()) * 100.0,
            is_ours: at != how.plain(),
        });
        groups.push(Group {
            title: format!("events of {}", bytes(event_bytes)),
            bars: bars.collect(),
        });
        for (how, rounds) in &all {
            let (plain_how, plain) = &all[how.plain()];
            let (Some(counts), Some(plain_counts)) = (&rounds.counts, &plain.counts) else {
                continue;
            };
            let ratio = rounds.rate.over(&plain.rate);
            table.row([
                bytes(event_bytes),
                how.name().to_owned(),
                spread(&rounds.rate, number),
                spread(&ratio, multiple),
                number(of_a_million(counts.requests as u64)),
                number(of_a_million(counts.records as u64)),
                size(of_a_million(counts.body_bytes)),
                number(of_a_million(units(counts, how))),
                spread(&rounds.cpu, number),
                size(rounds.memory.median()),
            ]);
            if event_bytes != 100 || how == plain_how {
                continue;
            }
            let name = how.name();
            let what = format!("{name}: events/s of 100 B ÷ each a record");
            measured.judge(Verdict::new(what, Target::AtLeast(10.0), ratio, multiple));
            let (what, most, part) = match how {
                How::KinesisKpl => {
                    let records = counts.records as f64;
                    ("records", 0.125, records / plain_counts.records as f64)
                }
                _ => {
                    let billed = units(counts, how) as f64;
                    let plain_billed = units(plain_counts, plain_how) as f64;
                    ("billed units", 0.05, billed / plain_billed)
                }
            };
            let what = format!("{name}: {what} of 100 B ÷ each a record");
            let part = [part].into_iter().collect();
            measured.judge(Verdict::new(what, Target::AtMost(most), part, multiple));
        }
    }
    measured.table(table);
    measured.chart(Chart {
        name: "cost",
        title: "Billed units, in percent of those for a record each".to_owned(),
        scale: Scale::Linear,
        text: percent,
        groups,
    });
    Ok(())
}

fn percent(value: f64) -> String {
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$} %")
}

/// The billed units: the payload of each record, rounded up to whole units.
fn units(counts: &Counts, how: &How) -> u64 {
    let sizes = counts.sizes.iter();
    sizes.map(|size| size.div_ceil(how.unit())).sum()
}
