//! How a store handles files that are truncated, changed or missing.
//!
//! `DAMAGES` sets how many of each kind are tried.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod other_files;
mod outlines;
mod segments;
mod torn;
