//! `cargo xtask bench`: measures the stores and the delivery against their limits.
//!
//! Every measurement runs in its own process, so memory and CPU time are its own. Contenders take
//! turns, round by round.

mod amount;
mod chart;
mod contender;
mod delivery;
mod effort;
mod job;
mod machine;
mod measured;
mod page;
mod place;
mod prelude;
mod process;
mod run;
mod series;
mod store;
mod table;
mod verdict;
mod worker;

pub(crate) use self::run::run;
pub(crate) use self::worker::run as work;
