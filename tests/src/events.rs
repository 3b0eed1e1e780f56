//! The events in a record, as a reader extracts them.

use aggregation::kpl;
use amplify_kinesis::Bytes;
use amplify_test_support::{PutRecord, Service};

use crate::Setup;

/// An event: its partition key, if any, and its payload.
pub type Event = (String, String);

/// The events of a record in the KPL format, or in lines.
pub fn events_of(service: Service, record: &PutRecord) -> Vec<Event> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match service {
        Service::Kinesis => match kpl::decode(&record.data).unwrap() {
            Some(events) => {
                let events = events.into_iter();
                events
                    .map(|event| (event.partition_key.to_owned(), text(event.data)))
                    .collect()
            }
            None => {
                let key = record.partition_key.clone().unwrap_or_default();
                vec![(key, text(&record.data))]
            }
        },
        Service::Firehose => {
            let lines = text(&record.data);
            let lines = lines.strip_suffix('\n').unwrap().split('\n');
            lines.map(|line| (String::new(), line.to_owned())).collect()
        }
    }
}

/// How events lie in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    Alone,
    Sharing,
}

impl Events {
    pub fn set(self, setup: Setup) -> Setup {
        match self {
            Self::Alone => setup,
            Self::Sharing => setup.sharing_records(),
        }
    }

    /// The events in these records. There must be more of them than records that they share.
    pub fn within(self, service: Service, records: Vec<PutRecord>) -> Vec<PutRecord> {
        if self == Self::Alone {
            return records;
        }
        let of_record = |record| shared(service, record).unwrap();
        let events: Vec<_> = records.iter().flat_map(of_record).collect();
        assert!(records.len() < events.len(), "they share records");
        events
    }
}

/// Follows each event in a shared Firehose record. No payload contains it.
pub(crate) const END_OF_EVENT: &[u8] = b"\0 end of an event \0";

/// The events that share a record, as separate records.
pub fn shared(service: Service, record: &PutRecord) -> Result<Vec<PutRecord>, String> {
    let event = |data: &[u8], key: Option<&str>| PutRecord {
        data: Bytes::copy_from_slice(data),
        partition_key: key.map(str::to_owned),
        explicit_hash_key: None,
    };
    if service == Service::Kinesis {
        let read = kpl::decode(&record.data).map_err(|error| error.to_string())?;
        return Ok(match read {
            Some(events) => events
                .iter()
                .map(|one| event(one.data, Some(one.partition_key)))
                .collect(),
            None => vec![record.clone()],
        });
    }
    let mut events = Vec::new();
    let mut rest = &record.data[..];
    while !rest.is_empty() {
        let mut ends = rest.windows(END_OF_EVENT.len());
        let end = ends.position(|window| window == END_OF_EVENT);
        let end = end.ok_or_else(|| "an event has no end".to_owned())?;
        events.push(event(&rest[..end], None));
        rest = &rest[end + END_OF_EVENT.len()..];
    }
    Ok(events)
}
