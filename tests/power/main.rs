//! No acknowledged record is lost in a power loss.
//!
//! A process that uses a store is traced. From the trace, the suite reconstructs the disk states
//! that a power loss could leave at any moment, opens each one, and compares it with what the
//! process had been promised by then. Needs `strace`.
//!
//! `POWER_LOSS_STATES` sets the number of states per workload, and `POWER_LOSS_SEED` chooses them.
//! Traces differ from run to run; for the same trace, a seed always gives the same states.
//! Everything needed to investigate a failing state is kept, and its location is reported.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

mod campaign;
mod inspect;
mod ledger;
mod marks;
mod payload;
mod process;
mod stores;
mod tiny;
mod workload;

use amplify_test_support::power_loss::Plan;
use amplify_test_support::stores::StoreKind;

use self::campaign::Campaign;
use self::inspect::inspect;
use self::ledger::{Ledger, Loss};
use self::process::Job;
use self::stores::Subject;
use self::tiny::Flaw;
use self::workload::{Setting, Workload, run};

/// Some parts of each write reach the disk and some do not.
const TEARING: &[Plan] = &[Plan::Pages, Plan::Sectors];

/// The traced processes run this test too, with a job in their environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_while_the_power_stays_on() {
    if let Some(job) = Job::given() {
        return job.perform().await;
    }
    let directory = tempfile::tempdir().unwrap();
    for workload in Workload::EACH {
        for subject in [
            Subject::Store(StoreKind::Sled),
            Subject::Store(StoreKind::TinySled),
            Subject::Store(StoreKind::Journal),
            Subject::Tiny(Flaw::None),
        ] {
            let place = directory.path().join(format!("{subject}-{workload:?}"));
            let marks = directory
                .path()
                .join(format!("{subject}-{workload:?}.marks"));
            let setting = Setting {
                subject,
                place: place.clone(),
                marks: marks.clone(),
                seed: 1,
                next_number: 1,
            };
            run(*workload, setting).await;
            let said = std::fs::read_to_string(marks).unwrap();
            let ledger = Ledger::of(
                said.lines()
                    .map(|mark| serde_json::from_str(mark).unwrap())
                    .enumerate(),
            );
            assert!(
                ledger.required() > 0,
                "{workload:?} leaves something to look for"
            );
            let report = inspect(subject, &place).await;
            assert_eq!(
                ledger.judge(&report, Loss::OfProcess),
                [""; 0],
                "{subject} {workload:?}"
            );
            assert_eq!(
                report.records.len(),
                ledger.required(),
                "what is settled is gone"
            );
        }
    }
}

/// Limit on the traces for a flaw to show. How many moments reveal it depends on how the threads
/// ran.
const TRACES: usize = 6;

/// A correct store must pass, and every flawed one must fail.
mod the_simulation {
    use super::*;

    /// Runs a campaign again and again until it has found at least this many harmful states.
    async fn harm_to(
        flaw: Flaw,
        workload: Workload,
        plans: &'static [Plan],
        least: usize,
    ) -> Vec<String> {
        let campaign = Campaign {
            states: 200,
            plans,
            ..Campaign::new(Subject::Tiny(flaw), workload)
        };
        let mut harm = Vec::new();
        for seed in (campaign.seed..).take(TRACES) {
            harm.extend(Campaign { seed, ..campaign }.harm().await);
            if harm.len() >= least {
                break;
            }
        }
        assert!(harm.len() >= least, "{harm:?}");
        harm
    }

    #[tokio::test]
    async fn accepts_a_store_that_is_right() {
        for workload in [Workload::Tasks, Workload::Churn, Workload::Clear] {
            Campaign::new(Subject::Tiny(Flaw::None), workload)
                .must_do_no_harm()
                .await;
        }
    }

    #[tokio::test]
    async fn notices_that_appends_are_not_synced() {
        let harm = harm_to(Flaw::NeverSyncs, Workload::Tasks, &Plan::EACH, 6).await;
        assert!(harm[0].contains("lost"), "{harm:?}");
    }

    #[tokio::test]
    async fn notices_that_a_rename_is_not_synced() {
        let harm = harm_to(Flaw::ForgetsTheNewName, Workload::Clear, &Plan::EACH, 3).await;
        assert!(
            harm[0].contains("lost") || harm[0].contains("cleared"),
            "{harm:?}"
        );
    }

    #[tokio::test]
    async fn notices_that_a_file_is_renamed_before_it_is_synced() {
        harm_to(Flaw::ForgetsTheNewLog, Workload::Drain, &Plan::EACH, 3).await;
    }

    #[tokio::test]
    async fn notices_that_a_file_is_overwritten_in_place() {
        let harm = harm_to(Flaw::RewritesInPlace, Workload::Churn, &Plan::EACH, 1).await;
        assert!(harm[0].contains("lost"), "{harm:?}");
    }

    #[tokio::test]
    async fn notices_that_the_first_name_is_not_synced() {
        let harm = harm_to(Flaw::ForgetsTheFirstName, Workload::Tasks, &Plan::EACH, 6).await;
        assert!(harm[0].contains("lost"), "{harm:?}");
    }

    #[tokio::test]
    async fn notices_that_torn_writes_are_believed() {
        harm_to(Flaw::TrustsWhatItReads, Workload::Large, TEARING, 2).await;
    }
}

macro_rules! through_every_workload {
    ($store:ident) => {
        through_every_workload!(
            $store when_several_tasks_append: Tasks, when_records_are_large: Large,
            when_records_come_and_go: Churn, when_it_is_drained_and_filled_again: Drain,
            when_a_stream_stands_still: Stalled, when_single_records_stay: Sieve,
            when_space_is_used_again: Turnover, when_it_is_cleared: Clear,
            when_it_is_closed_and_opened: Reopen, when_a_step_takes_much_room: Hollow,
        );
    };
    ($store:ident $($test:ident: $workload:ident,)+) => {$(
        #[tokio::test]
        async fn $test() {
            let store = Subject::Store(StoreKind::$store);
            Campaign::new(store, Workload::$workload).must_do_no_harm().await;
        }
    )+};
}

mod sled_store_keeps_what_it_acknowledged {
    use super::*;

    through_every_workload!(Sled);
}

mod sled_store_with_a_tiny_index_keeps_what_it_acknowledged {
    use super::*;

    through_every_workload!(TinySled);
}

mod journal_store_keeps_what_it_acknowledged {
    use super::*;

    through_every_workload!(Journal);
}
