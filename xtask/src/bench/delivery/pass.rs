//! Compares one pass over many streams with one request.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::bare;
use super::client::{self, Format};
use super::endpoint::Endpoint;
use crate::bench::amount::{KIB, duration, multiple, spread};
use crate::bench::contender::{self, Promise, StoreKind, data_of_record, stream};
use crate::bench::prelude::*;
use crate::bench::store::fill::fill;

const STREAMS: usize = 8;
const RECORD_BYTES: u64 = KIB;
const LATENCY: Duration = Duration::from_millis(20);

/// Passes and requests in turn.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pass {
    store: StoreKind,
    directory: PathBuf,
    endpoint: String,
    /// Records per stream.
    batch: usize,
    rounds: usize,
}

/// Seconds per round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passed {
    passes: Vec<f64>,
    requests: Vec<f64>,
}

impl Job for Pass {
    const NAME: &'static str = "pass";
    type Output = Passed;

    async fn run(self) -> Result<Passed> {
        let (directory, held) = (&self.directory, 64 * KIB * KIB);
        let store = contender::open(self.store, directory, Promise::PowerLoss, held).await?;
        let data = data_of_record(RECORD_BYTES)?;
        let batch = vec![data.clone(); self.batch];
        let sdk = client::bare(&self.endpoint);
        let client = client::builder(&self.endpoint, Format::Cbor)
            .store(store.clone())
            .build()
            .await?;
        let mut passed = Passed {
            passes: Vec::new(),
            requests: Vec::new(),
        };
        // The first round opens the connections.
        for round in 0..=self.rounds {
            for number in 0..STREAMS {
                fill(
                    &store,
                    &stream(&format!("bench-{number}"))?,
                    &data,
                    self.batch,
                )
                .await?;
            }
            let start = Instant::now();
            bare::send(&sdk, "bench", &batch).await?;
            let request = start.elapsed().as_secs_f64();
            let start = Instant::now();
            client.flush().await?;
            let pass = start.elapsed().as_secs_f64();
            if !store.stats().streams.is_empty() {
                bail!("a pass left records behind");
            }
            if round > 0 {
                passed.passes.push(pass);
                passed.requests.push(request);
            }
        }
        client.close().await?;
        Ok(passed)
    }
}

pub(crate) async fn run(effort: Effort, measured: &mut Measured) -> Result<()> {
    let mut table = Table::new(
        "One pass over 8 streams, 20 ms of latency: median (least–most)",
        "store | records of each stream | one request | one pass | ÷ request",
    );
    for store in StoreKind::USUAL {
        for batch in [10, bare::BATCH] {
            measured.begin(format!(
                "{store}: one pass over {STREAMS} × {batch} records"
            ));
            let directory = place::directory()?;
            let endpoint = Endpoint::start(LATENCY).await?;
            let pass = Pass {
                store,
                directory: directory.path().to_owned(),
                endpoint: endpoint.url.clone(),
                batch,
                rounds: effort.passes(),
            };
            let passed = measure(&pass).await?;
            endpoint.counts().await?;
            let passes: Series = passed.passes.into_iter().collect();
            let requests: Series = passed.requests.into_iter().collect();
            let ratio = passes.over(&requests);
            table.row([
                store.to_string(),
                batch.to_string(),
                spread(&requests, duration),
                spread(&passes, duration),
                spread(&ratio, multiple),
            ]);
            if store != StoreKind::Memory {
                let what = format!(
                    "{store}: one pass over {STREAMS} × {batch} records, against one request"
                );
                measured.judge(Verdict::new(what, Target::AtMost(1.5), ratio, multiple));
            }
        }
    }
    measured.table(table);
    Ok(())
}
