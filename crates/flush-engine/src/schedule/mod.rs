//! When passes run (on a timer, when enough records wait, until the cache is empty), and when other
//! instances' records are adopted.
//!
//! Each file is one loop, run as a task or by a caller. In scope: when and how often. Out of scope:
//! what a pass does.

mod adaptive;
#[cfg(any(feature = "sled", feature = "journal"))]
mod adoption;
mod drain;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
mod hidden;
mod interval;

pub(crate) use self::adaptive::run as flush_what_waits;
#[cfg(any(feature = "sled", feature = "journal"))]
pub(crate) use self::adoption::adopt_while_open;
pub(crate) use self::drain::run as drain;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub(crate) use self::hidden::run as flush_when_hidden;
pub(crate) use self::interval::run as flush_every;
