//! How batches reach the service. The entry point is [`Passes`]: `try_run` a [`Plan`].
//!
//! ```text
//! passes    one pass at a time; what one leaves to the next (history)
//! pass      which streams, side by side, when to stop
//! pipeline  one stream: batch after batch, several in flight
//! request   one batch: sent, judged, settled; halves of it if it is refused (bisect, charge)
//! ```
//!
//! `backoff`, `bisect`, `charge` and `history` are pure policy: jitter and time are passed in.
//! `signals` is all the communication between streams of one pass. It is lock-free, and
//! `tests/interleavings.rs` tests it under every interleaving.
//!
//! Invariants:
//! - The running pass holds the lock on [`history::History`], so there is only one.
//! - A batch is in flight from its request until the store has carried out the decision about it.
//!   `max_in_flight_per_stream` limits the number of batches in flight. A crash can repeat only
//!   these.
//! - A stream is read ahead only after batches that were accepted whole. After any other outcome,
//!   none of its records are read or sent until its backoff is over.
//!
//! In scope: what is sent next, and what an answer means. Out of scope: the store (use the cache),
//! and when a pass starts (`schedule`).

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
