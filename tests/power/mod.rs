//! Stores that lose power while they are at work.

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

pub use self::campaign::Campaign;
pub use self::inspect::inspect;
pub use self::ledger::{Ledger, Loss};
pub use self::process::Job;
pub use self::stores::StoreKind;
pub use self::tiny::Flaw;
pub use self::workload::{Setting, Workload, run};
