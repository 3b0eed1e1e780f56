//! The reports of the process that uses a store, in order.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A record of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub stream: String,
    pub number: u64,
    pub length: usize,
}

/// A record that was read, with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub number: u64,
    pub id: u64,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// These records are about to be appended in one call.
    Append { call: u64, records: Vec<Put> },
    /// That call returned `Ok`.
    Appended { call: u64 },
    /// These records are about to be deleted, and attempts counted, in one call.
    Settle {
        call: u64,
        delete: Vec<Seen>,
        count: Vec<Seen>,
    },
    /// That call returned `Ok`.
    Settled { call: u64 },
    /// The store is about to be cleared.
    Clear { call: u64 },
    /// The store was cleared.
    Cleared { call: u64 },
}

/// Writes marks, one per line, each in a single system call.
#[derive(Debug)]
pub struct Marks(File);

impl Marks {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Self(file.unwrap())
    }

    pub fn say(&self, mark: &Mark) {
        let line = serde_json::to_string(mark).unwrap() + "\n";
        assert_eq!((&self.0).write(line.as_bytes()).unwrap(), line.len());
    }
}
