//! A campaign of children that live and die, its weather, and its account.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests")]

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

pub use self::parent::{Campaign, Plan};
pub use self::report::Report;
pub use self::told::{StoreKind, Task};

/// What a child does that was started in this role.
pub fn act(role: &str) {
    let orders = serde_json::from_str(role).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(child::run(orders));
}
