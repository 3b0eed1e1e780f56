//! Which events share a record.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use crate::concatenate::Joiner;
use crate::kpl::{Encoder, is_aggregate};
use crate::{Concatenation, Event, KplLimits, Shard, ShardMap};

/// How events become one record.
///
/// ```
/// use aggregation::{Concatenation, Event, KplLimits, Method, Route, aggregate};
///
/// let events = [Event::new("customer-7", b"one"), Event::new("customer-7", b"two")];
/// // For the KCL and Lambda.
/// let kpl = Method::Kpl(KplLimits::default());
/// assert!(aggregation::kpl::is_aggregate(&aggregate(events, Route::ByKey, &kpl)[0].data));
/// // For readers of lines.
/// let lines = Method::Concatenate(Concatenation::default());
/// assert_eq!(&*aggregate(events, Route::ByKey, &lines)[0].data, b"one\ntwo\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// In the KPL format, including keys.
    Kpl(KplLimits),
    /// Joined. The keys are lost, so only events with the same key share a record.
    Concatenate(Concatenation),
}

/// Which events may share a record.
///
/// ```
/// use aggregation::{Event, KplLimits, Method, Route, Shard, ShardMap, aggregate};
///
/// let events = [Event::new("customer-7", b"one"), Event::new("customer-8", b"two")];
/// let kpl = Method::Kpl(KplLimits::default());
/// // All hashes belong to one shard, so both events may share a record.
/// let shards = ShardMap::new([Shard::new("shardId-000000000000", 0, u128::MAX)])?;
/// assert_eq!(aggregate(events, Route::ByShard(&shards), &kpl).len(), 1);
/// // Without knowledge of the shards, their keys differ.
/// assert_eq!(aggregate(events, Route::ByKey, &kpl).len(), 2);
/// # Ok::<(), aggregation::Overlap>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Route<'m> {
    /// Events of the same shard.
    ByShard(&'m ShardMap),
    /// Events with the same partition key and explicit hash key. Correct for any shards.
    ByKey,
}

/// A record as sent.
///
/// ```
/// use aggregation::{Concatenation, Event, Method, Route, aggregate};
///
/// let events = [Event::new("a", b"one"), Event::new("b", b"two"), Event::new("a", b"three")];
/// let lines = Method::Concatenate(Concatenation::default());
/// for record in aggregate(events, Route::ByKey, &lines) {
///     println!("{}: {:?}", record.partition_key, record.data);
///     // If the service rejects it, these are the events to send again.
///     println!("{:?}", record.events);
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireRecord<'a, 'm> {
    /// The payload of its only event, or of all its events.
    pub data: Cow<'a, [u8]>,
    /// The partition key of its first event.
    pub partition_key: &'a str,
    /// The explicit hash key of its first event.
    pub explicit_hash_key: Option<u128>,
    /// The positions of its events in the batch, ascending; never empty.
    pub events: Vec<usize>,
    /// The shard it should reach, if shards are known.
    pub shard: Option<&'m Shard>,
}

// Leaves out the payload and the key.
impl fmt::Debug for WireRecord<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireRecord")
            .field("bytes", &self.data.len())
            .field("events", &self.events)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// Puts the events of a batch into records, ordered by first event.
///
/// Events that may share a record keep their order, both within a record and across records. With
/// the KPL method, an event that is alone, too large or already an aggregate is sent unchanged.
/// Joined payloads always get the delimiter, even when alone. A payload too large to be joined
/// therefore makes a record larger than `max_bytes`.
///
/// ```
/// use aggregation::{Concatenation, Event, Method, Route, aggregate};
///
/// let events = [Event::new("a", b"one"), Event::new("b", b"two"), Event::new("a", b"three")];
/// let lines = Method::Concatenate(Concatenation::default());
/// let records = aggregate(events, Route::ByKey, &lines);
/// assert_eq!(&*records[0].data, b"one\nthree\n");
/// assert_eq!(records[0].events, [0, 2]);
/// assert_eq!(records[1].events, [1]);
/// ```
pub fn aggregate<'a, 'm>(
    events: impl IntoIterator<Item = Event<'a>>,
    route: Route<'m>,
    method: &Method,
) -> Vec<WireRecord<'a, 'm>> {
    let mut open = HashMap::new();
    let mut records = Vec::<Open<'a, 'm, '_>>::new();
    for (place, event) in events.into_iter().enumerate() {
        let (lane, shard) = Lane::of(event, route, method);
        let is_taken = open.get(&lane).is_some_and(|at: &usize| {
            let record = &mut records[*at];
            let is_taken = record.content.push(event);
            if is_taken {
                record.events.push(place);
            }
            is_taken
        });
        if !is_taken {
            open.insert(lane, records.len());
            records.push(Open::new(place, event, shard, method));
        }
    }
    records.into_iter().map(Open::finish).collect()
}

/// Events of one lane may share a record.
#[derive(PartialEq, Eq, Hash)]
enum Lane<'a, 'm> {
    Shard {
        id: &'m str,
        has_hash_key: bool,
    },
    Key {
        partition_key: &'a str,
        explicit_hash_key: Option<u128>,
    },
}

impl<'a, 'm> Lane<'a, 'm> {
    fn of(event: Event<'a>, route: Route<'m>, method: &Method) -> (Self, Option<&'m Shard>) {
        let shard = match route {
            Route::ByShard(map) => map.shard_of(event.hash_key()),
            Route::ByKey => None,
        };
        let lane = match (method, shard) {
            (Method::Kpl(_), Some(shard)) => Self::Shard {
                id: &shard.id,
                has_hash_key: event.explicit_hash_key.is_some(),
            },
            _ => Self::Key {
                partition_key: event.partition_key,
                explicit_hash_key: event.explicit_hash_key,
            },
        };
        (lane, shard)
    }
}

/// A record that can take more events.
struct Open<'a, 'm, 'c> {
    first: Event<'a>,
    events: Vec<usize>,
    shard: Option<&'m Shard>,
    content: Content<'a, 'c>,
}

enum Content<'a, 'c> {
    Kpl(Encoder<'a>),
    Joined(Joiner<'a, 'c>),
    /// A single event.
    Single(Cow<'a, [u8]>),
}

impl<'a> Content<'a, '_> {
    fn push(&mut self, event: Event<'a>) -> bool {
        match self {
            Self::Kpl(encoder) => !is_aggregate(event.data) && encoder.push(event),
            Self::Joined(joiner) => joiner.push(event),
            Self::Single(_) => false,
        }
    }
}

impl<'a, 'm, 'c> Open<'a, 'm, 'c> {
    fn new(place: usize, event: Event<'a>, shard: Option<&'m Shard>, method: &'c Method) -> Self {
        let (mut content, single) = match method {
            Method::Kpl(limits) => {
                let encoder = Encoder::new(*limits);
                (Content::Kpl(encoder), Cow::Borrowed(event.data))
            }
            Method::Concatenate(concatenation) => {
                let joiner = Joiner::new(concatenation);
                (Content::Joined(joiner), Cow::Borrowed(event.data))
            }
        };
        if !content.push(event) {
            content = Content::Single(match method {
                Method::Kpl(_) => single,
                Method::Concatenate(concatenation) => concatenation.single(event.data),
            });
        }
        Self {
            first: event,
            events: vec![place],
            shard,
            content,
        }
    }

    fn finish(self) -> WireRecord<'a, 'm> {
        let data = match self.content {
            Content::Kpl(encoder) if encoder.len() > 1 => Cow::Owned(encoder.encode()),
            Content::Kpl(_) => Cow::Borrowed(self.first.data),
            Content::Joined(joiner) => joiner.finish(),
            Content::Single(data) => data,
        };
        WireRecord {
            data,
            partition_key: self.first.partition_key,
            explicit_hash_key: self.first.explicit_hash_key,
            events: self.events,
            shard: self.shard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpl::decode;

    fn halves() -> ShardMap {
        let half = u128::MAX / 2;
        ShardMap::new([
            Shard::new("low", 0, half),
            Shard::new("high", half + 1, u128::MAX),
        ])
        .unwrap()
    }

    fn places(records: &[WireRecord<'_, '_>]) -> Vec<Vec<usize>> {
        records.iter().map(|record| record.events.clone()).collect()
    }

    fn to(hash_key: u128) -> Event<'static> {
        Event::new("k", b"x").with_explicit_hash_key(hash_key)
    }

    #[test]
    fn events_of_one_shard_share_a_record() {
        let map = halves();
        let events = [to(1), to(u128::MAX), to(2), to(3), to(u128::MAX - 1)];
        let method = Method::Kpl(KplLimits::default());
        let records = aggregate(events, Route::ByShard(&map), &method);
        assert_eq!(places(&records), [vec![0, 2, 3], vec![1, 4]]);
        assert_eq!(records[0].shard.unwrap().id, "low");
        assert_eq!(records[0].explicit_hash_key, Some(1));
        let read = decode(&records[0].data).unwrap().unwrap();
        assert_eq!(read, [to(1), to(2), to(3)]);
    }

    #[test]
    fn without_shards_only_events_of_one_key_share_a_record() {
        let events = ["a", "b", "a", "b", "c"].map(|key| Event::new(key, b"x"));
        let method = Method::Kpl(KplLimits::default());
        let records = aggregate(events, Route::ByKey, &method);
        assert_eq!(places(&records), [vec![0, 2], vec![1, 3], vec![4]]);
        let gap = ShardMap::default();
        let records = aggregate(events, Route::ByShard(&gap), &method);
        assert_eq!(places(&records), [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn a_hash_key_given_and_none_do_not_share_a_record() {
        let map = ShardMap::new([Shard::new("all", 0, u128::MAX)]).unwrap();
        let events = [to(1), Event::new("k", b""), to(2), Event::new("j", b"")];
        let method = Method::Kpl(KplLimits::default());
        let records = aggregate(events, Route::ByShard(&map), &method);
        assert_eq!(places(&records), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn what_is_alone_too_large_or_an_aggregate_is_sent_as_it_is() {
        let aggregate_of_another = b"\xf3\x89\x9a\xc2whatever";
        let large = [7; 1_000];
        let events = [
            Event::new("k", b"1"),
            Event::new("k", b"2"),
            Event::new("k", aggregate_of_another),
            Event::new("k", b"3"),
            Event::new("k", &large),
            Event::new("k", b"4"),
            Event::new("k", b"5"),
        ];
        let method = Method::Kpl(KplLimits::default().max_bytes(200));
        let records = aggregate(events, Route::ByKey, &method);
        let expected = [vec![0, 1], vec![2], vec![3], vec![4], vec![5, 6]];
        assert_eq!(places(&records), expected);
        for record in &records[1..4] {
            assert!(
                matches!(record.data, Cow::Borrowed(data) if data == events[record.events[0]].data)
            );
        }
    }

    #[test]
    fn joined_events_keep_to_count_bytes_and_key() {
        let line = Event::new("k", b"1234");
        let events = [line, line, Event::new("l", b"x\n"), line, line, line];
        let method = Method::Concatenate(Concatenation::default().max_bytes(15).max_events(2));
        let records = aggregate(events, Route::ByKey, &method);
        assert_eq!(places(&records), [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
        assert_eq!(&*records[0].data, b"1234\n1234\n");
        assert!(matches!(records[1].data, Cow::Borrowed(b"x\n")));
        let method = Method::Concatenate(Concatenation::default().max_bytes(14));
        assert_eq!(
            places(&aggregate([line; 3], Route::ByKey, &method)),
            [vec![0, 1], vec![2]]
        );
    }

    #[test]
    fn a_payload_too_large_to_be_joined_goes_alone_with_its_delimiter() {
        let events = [&b"1"[..], &[7; 11], b"2", b"3"].map(|data| Event::new("k", data));
        let method = Method::Concatenate(Concatenation::default().max_bytes(10));
        let records = aggregate(events, Route::ByKey, &method);
        assert_eq!(places(&records), [vec![0], vec![1], vec![2, 3]]);
        assert_eq!(records[1].data.len(), 12);
        assert_eq!(records[1].data.last(), Some(&b'\n'));
    }
}
