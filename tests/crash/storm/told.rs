//! What a child is ordered, and what it tells: one line each, in one write, so that a kill
//! leaves a whole line or none.

use std::path::PathBuf;

use integration_tests::StoreKind;
use serde::{Deserialize, Serialize};

use super::payload::{Lane, STREAMS};

/// What a child is to do; all that is random in it follows from this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub task: Task,
    pub incarnation: usize,
    pub seed: u64,
    pub directory: PathBuf,
    pub endpoint: String,
    pub store: StoreKind,
    /// The number that each lane goes on with.
    pub next: Vec<u32>,
    pub settings: ClientSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Record and deliver, do everything that a client can do, until killed or told to end.
    Everything,
    /// Record and deliver.
    RecordAndDeliver,
    /// Deliver what is left.
    Finish,
}

/// When a client delivers by itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Timer {
    Never,
    Millis(u64),
    /// When a record is this old, or so many wait.
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

/// Either service, in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    Kinesis,
    Firehose,
}

/// What a child tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Told {
    /// About to record.
    Begun(Group),
    /// It was `Ok`.
    Stored(Group),
    /// It was an error that says that nothing was stored.
    Refused(Group),
    /// It was `Ok` while disabled.
    Dropped(Group),
    /// Its future was dropped.
    Left(Group),
    /// `on_discard` was called.
    Discarded {
        lane: Lane,
        number: u32,
        attempts: u32,
        reason: String,
        /// Whether payload and key were as recorded.
        whole: bool,
    },
    /// Nobody records, and no request is under way; waits for a word to go on.
    Quiet {
        side: Side,
        cached: [usize; STREAMS],
    },
    /// About to clear the cache; `at_rest` since the last count.
    Clearing { side: Side, at_rest: bool },
    /// It was cleared of so many records.
    Cleared { side: Side, records: usize },
    /// Both clients were closed, and this is the end.
    Ended,
    /// A request for this stream, of either service, had no answer in time.
    GaveUp { stream: Option<usize> },
    /// Something that may not happen.
    Wrong(String),
}

impl Told {
    pub fn say(&self) {
        println!("{}", serde_json::to_string(self).unwrap());
    }
}

/// What a child that waits is told.
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
