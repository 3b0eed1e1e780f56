//! The terms on which all contenders take records.

use std::fmt;

use record_cache::Durability;
use serde::{Deserialize, Serialize};

/// Each record's key; it counts against the record's size.
pub(crate) const KEY: &str = "0123456789abcdef";

/// What a record must survive, as written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Promise {
    PowerLoss,
    ProcessCrash,
}

impl From<Promise> for Durability {
    fn from(promise: Promise) -> Self {
        match promise {
            Promise::PowerLoss => Self::PowerLoss,
            Promise::ProcessCrash => Self::ProcessCrash,
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How many records a writer commits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    One,
    All,
}
