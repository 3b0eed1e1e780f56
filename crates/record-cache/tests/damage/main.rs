//! What a store makes of files that are cut short, changed or gone.
//!
//! `DAMAGES` says how many of each kind are tried.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod other_files;
mod outlines;
mod segments;
mod torn;
