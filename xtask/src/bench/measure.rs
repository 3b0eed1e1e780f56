//! Which measurements are made, how thoroughly, and what they gave.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::amount::MIB;
use super::table::Table;
use super::verdict::Verdict;
use super::{Part, delivery, machine, page, place, store, verdict};
use crate::flags::BenchFlags;
use crate::progress::Progress;

/// How thoroughly is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Quick,
}

/// What one part gave.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) tables: Vec<Table>,
    pub(crate) verdicts: Vec<Verdict>,
    under_way: Option<Progress>,
}

impl Measured {
    /// Says what is being measured from now on.
    pub(crate) fn begin(&mut self, what: impl Into<String>) {
        self.end();
        self.under_way = Some(Progress::start(what));
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.end();
        table.print();
        self.tables.push(table);
    }

    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    fn end(&mut self) {
        if let Some(progress) = self.under_way.take() {
            progress.done();
        }
    }
}

pub(crate) async fn run(flags: &BenchFlags) -> Result<()> {
    let effort = if flags.quick {
        Effort::Quick
    } else {
        Effort::Full
    };
    let machine = machine::describe(place::directory()?.path())?;
    eprintln!("{machine}");
    let mut all = Vec::new();
    for part in parts(&flags.parts) {
        let mut measured = Measured::default();
        match part {
            Part::Ingest => store::ingest::run(effort, &mut measured).await?,
            Part::Settle => store::settle::run(effort, &mut measured).await?,
            Part::Open => store::open::run(effort, &mut measured).await?,
            Part::Churn => store::churn::run(effort, &mut measured).await?,
            Part::Drain => delivery::drain::run(effort, &mut measured).await?,
            Part::Pass => delivery::pass::run(effort, &mut measured).await?,
            Part::Flow => delivery::flow::run(effort, &mut measured).await?,
            Part::Store | Part::Delivery => {}
        }
        if flags.write {
            page::write(part, effort, &machine, &measured)?;
        }
        all.extend(measured.verdicts);
    }
    verdict::table(&all).print();
    Ok(())
}

/// Each part once, in their order.
fn parts(named: &[Part]) -> Vec<Part> {
    const STORE: [Part; 4] = [Part::Ingest, Part::Settle, Part::Open, Part::Churn];
    const DELIVERY: [Part; 3] = [Part::Drain, Part::Pass, Part::Flow];
    let is_named = |part: &Part| {
        let group = if STORE.contains(part) {
            Part::Store
        } else {
            Part::Delivery
        };
        named.is_empty() || named.contains(part) || named.contains(&group)
    };
    STORE.into_iter().chain(DELIVERY).filter(is_named).collect()
}

impl Effort {
    /// So many rounds at most, and no third one when they take too long.
    pub(crate) fn rounds(self, most: usize, patience: Duration) -> impl Iterator<Item = usize> {
        let most = match self {
            Self::Full => most,
            Self::Quick => most.min(5),
        };
        let start = Instant::now();
        (0..most).take_while(move |&round| round < 2 || start.elapsed() < patience)
    }

    /// How long a contender takes records in, in one round.
    pub(crate) const fn slice(self) -> Duration {
        match self {
            Self::Full => Duration::from_millis(150),
            Self::Quick => Duration::from_millis(100),
        }
    }

    pub(crate) const fn batches(self) -> usize {
        match self {
            Self::Full => 200,
            Self::Quick => 60,
        }
    }

    pub(crate) const fn passes(self) -> usize {
        match self {
            Self::Full => 50,
            Self::Quick => 20,
        }
    }

    pub(crate) const fn passing_bytes(self) -> u64 {
        match self {
            Self::Full => 200 * MIB,
            Self::Quick => 50 * MIB,
        }
    }

    /// A number of records, or a tenth of it.
    pub(crate) const fn records(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => full / 10,
        }
    }
}
