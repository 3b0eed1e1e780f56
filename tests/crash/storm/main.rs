//! Processes record and deliver through both clients while everything fails at random: they are
//! killed and restarted, and the endpoint fails in every way it can. In the end, every record is
//! accounted for.
//!
//! `STORM_SECONDS` sets the duration, `STORM_SEED` repeats the random choices of a run, and
//! `STORM_STORE=journal` chooses another store.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests")]

mod account;
mod child;
mod counting;
mod director;
mod lanes;
mod ledger;
mod parent;
mod patience;
mod payload;
mod report;
mod told;
mod weather;
use integration_tests::{StoreKind, number_in, role};
use std::env;
use std::time::Duration;

use self::parent::{Campaign, Plan};
use self::report::Report;

/// The most records that one kill may repeat: one request for each stream of both clients.
const fn most_in_flight(shares_records: bool) -> usize {
    let of_a_request = if shares_records { 16_384 } else { 500 };
    2 * 4 * of_a_request
}

#[test]
fn in_a_storm_every_record_is_accounted_for() {
    storm("in_a_storm_every_record_is_accounted_for", false);
}

#[test]
fn in_a_storm_every_event_of_a_shared_record_is_accounted_for() {
    storm(
        "in_a_storm_every_event_of_a_shared_record_is_accounted_for",
        true,
    );
}

#[test]
fn a_kill_repeats_only_what_was_in_flight() {
    kill("a_kill_repeats_only_what_was_in_flight", false);
}

#[test]
fn a_kill_repeats_only_the_events_that_were_in_flight_in_shared_records() {
    kill(
        "a_kill_repeats_only_the_events_that_were_in_flight_in_shared_records",
        true,
    );
}

fn storm(test: &'static str, shares_records: bool) {
    run(storm_of(test, shares_records));
}

fn storm_of(test: &'static str, shares_records: bool) -> Plan {
    Plan {
        test,
        seed: number_in("STORM_SEED").unwrap_or_else(|| fastrand::u64(..)),
        time: seconds(15),
        store: store(),
        storms: true,
        shares_records,
        life: Duration::from_secs(3),
    }
}

fn kill(test: &'static str, shares_records: bool) {
    let plan = Plan {
        time: seconds(12),
        storms: false,
        life: Duration::from_millis(1500),
        ..storm_of(test, shares_records)
    };
    let Some(report) = run(plan) else {
        return;
    };
    assert_eq!(report.discarded + report.repeated_after_lost_answers, 0);
    for (kill, repeated) in report.repeated_by_kill {
        let in_flight = report.in_flight_at_kill[&kill];
        assert!(repeated <= in_flight && repeated <= most_in_flight(shares_records));
    }
}

/// Runs the plan. In a child, carries out its orders instead.
fn run(plan: Plan) -> Option<Report> {
    if let Some(role) = role() {
        act(&role);
        return None;
    }
    let seed = plan.seed;
    eprintln!("STORM_SEED={seed}");
    let (report, wrong) = Campaign::new(plan).run();
    eprintln!("{report}");
    let first = &wrong[..wrong.len().min(20)];
    assert!(
        wrong.is_empty(),
        "STORM_SEED={seed}: {} things are wrong, among them {first:#?}",
        wrong.len()
    );
    assert_eq!(report.lost(), 0);
    assert!(report.delivered > 0 && report.kills > 0);
    Some(report)
}

fn store() -> StoreKind {
    let named = env::var("STORM_STORE").map(|name| name.parse().unwrap());
    named.unwrap_or(StoreKind::Sled)
}

fn seconds(default: u64) -> Duration {
    Duration::from_secs(number_in("STORM_SECONDS").unwrap_or(default))
}

/// Runs a child that was started in this role.
fn act(role: &str) {
    let orders = serde_json::from_str(role).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(child::run(orders));
}
