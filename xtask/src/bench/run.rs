//! Runs the chosen measurements in order.

use anyhow::Result;

use super::effort::Effort;
use super::measured::Measured;
use super::{delivery, machine, page, place, store, verdict};
use crate::flags::{BenchFlags, Part};

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
            Part::Cost => delivery::cost::run(effort, &mut measured).await?,
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

/// Each part once, in the usual order.
fn parts(named: &[Part]) -> Vec<Part> {
    const STORE: [Part; 4] = [Part::Ingest, Part::Settle, Part::Open, Part::Churn];
    const DELIVERY: [Part; 4] = [Part::Drain, Part::Pass, Part::Flow, Part::Cost];
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
