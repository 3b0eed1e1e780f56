//! What goes over the wire, and what a client makes of the answers: both clients, with the real
//! SDK, against a loopback endpoint that is told how to answer.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod adaptive;
mod aggregation;
mod answers;
mod arns;
mod behaviour;
mod blocking;
mod builder;
mod credentials;
mod delivered;
mod fake_aws;
mod front;
mod keys;
mod limits;
mod outcomes;
mod policies;
mod readers;
mod resharding;
