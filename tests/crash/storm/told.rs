//! A child's orders and reports: one line each, in a single write, so that a kill leaves a whole
//! line or none.

use std::path::PathBuf;

use integration_tests::StoreKind;
use serde::{Deserialize, Serialize};

use super::payload::{Lane, STREAMS};

/// A child's orders. They determine all of its random choices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub task: Task,
    pub incarnation: usize,
    pub seed: u64,
    pub directory: PathBuf,
    pub endpoint: String,
    pub store: StoreKind,
    /// The next number of each lane.
    pub next: Vec<u32>,
    pub settings: ClientSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Record, deliver and do everything else that a client can, until killed or told to end.
    Everything,
    /// Record and deliver.
    RecordAndDeliver,
    /// Deliver the remaining records.
    Finish,
}

/// When a client delivers on its own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Timer {
    Never,
    Millis(u64),
    /// When a record is this old, or this many are waiting.
    Adaptive {
        millis: u64,
        records: usize,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientSettings {
    pub survives_power_loss: bool,
    pub timer: Timer,
    pub max_in_flight_per_stream: usize,
    pub request_timeout_millis: u64,
    pub max_concurrent_streams: usize,
    pub max_retries: u32,
    pub cache_max_bytes: u64,
    pub sdk_attempts: u32,
    pub drops_oldest: bool,
    /// Whether events share records.
    pub shares_records: bool,
    pub max_record_age_millis: Option<u64>,
}

/// A range of records of one lane that are stored together or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub lane: Lane,
    pub first: u32,
    pub count: u32,
}

/// A service and its client, by the place in `SERVICES`.
pub type Side = usize;

/// A child's report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Told {
    /// About to record.
    Begun(Group),
    /// The call returned `Ok`.
    Stored(Group),
    /// The call failed, and nothing was stored.
    Refused(Group),
    /// The call returned `Ok` while the client was disabled.
    Dropped(Group),
    /// The call's future was dropped.
    Left(Group),
    /// `on_discard` was called.
    Discarded {
        lane: Lane,
        number: u32,
        attempts: u32,
        reason: String,
        /// Whether payload and key were intact.
        whole: bool,
    },
    /// Nobody records, and no request is in flight. The child waits for a word to go on.
    Quiet {
        side: Side,
        cached: [usize; STREAMS],
    },
    /// About to clear the cache. `at_rest` if nothing has happened since the last count.
    Clearing { side: Side, at_rest: bool },
    /// The clear deleted this many records.
    Cleared { side: Side, records: usize },
    /// Both clients are closed, and the child is done.
    Ended,
    /// A request for this stream, of either service, got no answer in time.
    GaveUp { stream: Option<usize> },
    /// Something that must not happen.
    Wrong(String),
}

impl Told {
    pub fn say(&self) {
        println!("{}", serde_json::to_string(self).unwrap());
    }
}

/// What the parent tells a waiting child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    GoOn,
    End,
}

impl Word {
    pub const fn line(self) -> &'static str {
        match self {
            Self::GoOn => "go on\n",
            Self::End => "end\n",
        }
    }
}
