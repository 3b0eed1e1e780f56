//! What goes over the wire, and how the clients react to answers. The tests use the real SDK
//! against a loopback endpoint with scripted answers.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod adaptive;
mod aggregation;
mod answers;
mod arns;
mod behaviour;
mod blocking;
mod bounds;
mod builder;
mod clients;
mod delivered;
mod fake_aws;
mod front;
mod keys;
mod limits;
mod outcomes;
mod policies;
mod protocols;
mod readers;
mod resharding;
mod seams;
mod telemetry;
