//! How batches reach the service. The entry point is [`Passes`]: `try_run` a [`Plan`].
//!
//! ```text
//! passes    one pass at a time; what one leaves to the next (history)
//! pass      which streams, side by side, when to stop
//! pipeline  one stream: batch after batch, several in flight
//! request   one batch: sent, judged, settled; halves of it if it is refused (bisect, charge)
//! ```
//!
//! `backoff`, `bisect`, `charge` and `history` are pure policy: jitter and time come from
//! outside. `signals` is all that streams of one pass tell each other; it takes no lock and is
//! tried under every interleaving by `tests/interleavings.rs`.
//!
//! Invariants:
//! - The pass that runs holds the lock on [`history::History`], so there is one.
//! - A batch is in flight from its request until the store has taken the decision on it, and
//!   `max_in_flight_per_stream` bounds them. This is what a crash can repeat.
//! - A stream goes on only behind batches that were accepted whole. After any other outcome
//!   nothing more of it is read ahead or sent until its backoff is over.
//!
//! May be touched here: what is sent next and what an answer means. Not here: the store (ask
//! the cache), when a pass starts (that is `schedule`).

mod backoff;
mod bisect;
mod charge;
mod context;
mod history;
mod pass;
mod passes;
mod pipeline;
mod plan;
mod request;
mod signals;

pub(crate) use self::backoff::drain_wait;
pub(crate) use self::pass::{Effect, Passed};
pub(crate) use self::passes::Passes;
pub(crate) use self::plan::Plan;
