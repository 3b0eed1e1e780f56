//! Writes requests straight from a batch, and reads only the necessary parts of responses.
//!
//! The SDK resolves the endpoint, signs, retries, times out and makes typed errors. Each call gets
//! our own protocol and a [`Handover`], which carries the finished body out and the outcomes back.
//!
//! ```text
//! Wire::send ── entry ─→ cbor_writer | json_writer ─→ Handover ─→ call (the SDK's)
//!     ↑                                                  │ Protocol: request, endpoint,
//!     └── outcomes ←── answer ←── cbor_reader | json_reader ←┘ answer, error
//! ```
//!
//! - The body is written once, into one buffer of computed size, and signed for each attempt.
//!   Buffers are reused.
//! - Before anything is sent, the format is checked against the endpoint resolved for that attempt.
//!   A wrong guess costs writing the body again.
//! - The format of a response is detected from its first byte, never from its content type.
//! - A response counts only if it has a result for each record of the batch.

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
