//! Requests written straight from a batch, and answers read no further than they are needed.
//!
//! The SDK resolves the endpoint, signs, retries, times out and makes typed errors. Between
//! them stands a protocol of our own, given to each call beside a [`Handover`]: the finished
//! body on the way out, and a place for the outcomes on the way back.
//!
//! ```text
//! Wire::send ── entry ─→ cbor_writer | json_writer ─→ Handover ─→ call (the SDK's)
//!     ↑                                                  │ Protocol: request, endpoint,
//!     └── outcomes ←── answer ←── cbor_reader | json_reader ←┘ answer, error
//! ```
//!
//! - The body is written once, into one buffer of computed size, and signed for each attempt;
//!   the buffers are used again.
//! - The format is checked against the endpoint of every attempt before anything is sent, so
//!   it rests on the endpoint that was really resolved; a wrong guess costs a second writing.
//! - An answer is told by its first byte, never by its content type.
//! - An answer is only one if it has a result for each record of the batch.

mod answer;
mod bodies;
mod cbor_reader;
mod cbor_writer;
mod entry;
mod format;
mod handover;
mod host;
mod json_reader;
mod json_writer;
mod nothing;
mod protocol;
mod send;
mod source;

#[cfg(test)]
mod fuzz;

pub use self::answer::Outcome;
pub use self::entry::{Entry, Operation, Target};
pub use self::format::WireFormat;
pub use self::handover::Handover;
pub use self::send::{Receipts, Wire};
pub use crate::Receipt;
