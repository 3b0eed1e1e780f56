//! Records whose content is derived from their writer and the run's seed.

use amplify_test_support::{PutRecord, Service, payload};
use bytes::Bytes;
use fastrand::Rng;
use integration_tests::SERVICES;
use serde::{Deserialize, Serialize};

use super::told::Side;

pub const STREAMS: usize = 4;
const WRITERS: usize = 2;
/// The number of writers, over all streams of both services.
pub const LANES: usize = 2 * STREAMS * WRITERS;

/// One writer of one stream of one service. It records one record after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane(pub usize);

/// A record, by its lane and its number in that lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub lane: Lane,
    pub number: u32,
}

impl Lane {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LANES).map(Self)
    }

    /// All lanes that write to the streams of a service.
    pub fn of(side: Side) -> impl Iterator<Item = Self> {
        Self::all().filter(move |lane| lane.side() == side)
    }

    pub fn side(self) -> Side {
        self.0 / (STREAMS * WRITERS)
    }

    pub fn service(self) -> Service {
        SERVICES[self.side()]
    }

    /// The number of the lane's stream within the service.
    pub fn stream_number(self) -> usize {
        self.0 / WRITERS % STREAMS
    }

    pub fn stream(self) -> String {
        stream(self.stream_number())
    }
}

/// The name of a stream, the same in both services.
pub fn stream(number: usize) -> String {
    format!("stream-{number}")
}

impl Id {
    /// The payload: the record's own name, then bytes that no other record has.
    pub fn data(self, seed: u64) -> Bytes {
        let mut dice = self.dice(seed);
        let length = match dice.u32(0..1000) {
            0 => dice.usize(0..250_000),
            1..20 => dice.usize(0..40_000),
            _ => dice.usize(0..500),
        };
        let lane = self.lane.0.to_string();
        payload::payload(seed, &lane, self.number.into(), length).into()
    }

    pub fn key(self) -> String {
        format!("key-{}", self.number % 97)
    }

    /// Whether the service refuses every request that contains this record.
    pub fn is_poison(self, seed: u64) -> bool {
        self.dice(!seed).u32(0..400) == 0
    }

    /// The identity of a record off the wire, if it is intact.
    pub fn of_whole(record: &PutRecord, seed: u64) -> Result<Self, String> {
        let id = Self::named_in(&record.data)
            .ok_or_else(|| format!("{} bytes that nobody recorded", record.data.len()))?;
        if record.data != id.data(seed) {
            return Err(format!("{id:?} differs from what was recorded"));
        }
        match (&record.partition_key, id.lane.service()) {
            (None, Service::Firehose) => Ok(id),
            (Some(key), Service::Kinesis) if *key == id.key() => Ok(id),
            (key, _) => Err(format!("{id:?} has the key {key:?}")),
        }
    }

    pub fn named_in(data: &[u8]) -> Option<Self> {
        let (lane, number) = payload::named_in(data)?;
        let lane = lane.parse().ok().filter(|&lane| lane < LANES)?;
        let number = number.try_into().ok()?;
        Some(Self {
            lane: Lane(lane),
            number,
        })
    }

    fn dice(self, seed: u64) -> Rng {
        let own = (self.lane.0 as u64) << 32 | u64::from(self.number);
        Rng::with_seed(seed ^ own.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}
