//! The events in a record, as a reader extracts them.

use amplify_test_support::{PutRecord, Service};

/// An event: its partition key, if any, and its payload.
pub type Event = (String, String);

/// The events of a record in the KPL format, or in lines.
pub fn events_of(service: Service, record: &PutRecord) -> Vec<Event> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match service {
        Service::Kinesis => match aggregation::kpl::decode(&record.data).unwrap() {
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
