//! New records, measured once.

use std::collections::HashMap;

use record_cache::{Amount, NewRecord, StreamName};

/// Records to store together, and their total amount.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(super) records: Vec<NewRecord>,
    pub(super) amount: Amount,
    pub(super) by_stream: Vec<(StreamName, Amount)>,
}

impl Incoming {
    pub(crate) fn new(records: Vec<NewRecord>) -> Self {
        let mut amount = Amount::default();
        let mut by_stream: Vec<(StreamName, Amount)> = Vec::new();
        // Streams after the first one. A call with a single stream needs no map.
        let mut places: HashMap<&StreamName, usize> = HashMap::new();
        let mut at = 0;
        for record in &records {
            let size = Amount::new(1, record.size());
            amount += size;
            let is_at = |at: usize| {
                by_stream
                    .get(at)
                    .is_none_or(|(name, _)| *name == record.stream)
            };
            if !is_at(at) {
                at = match is_at(0) {
                    true => 0,
                    false => *places.entry(&record.stream).or_insert(by_stream.len()),
                };
            }
            if at == by_stream.len() {
                by_stream.push((record.stream.clone(), Amount::default()));
            }
            by_stream[at].1 += size;
        }
        Self {
            records,
            amount,
            by_stream,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_measured_as_a_whole_and_by_stream() {
        let name = |name: &str| StreamName::new(name).unwrap();
        for streams in ["", "a", "aaa", "ab", "abab", "abcabcc", "aabbaabb", "cab"] {
            let records = streams
                .chars()
                .map(|s| NewRecord::new(name(&s.to_string()), None, "xy"));
            let incoming = Incoming::new(records.collect());
            let sum = Amount::new(streams.len(), 2 * streams.len() as u64);
            assert_eq!(incoming.amount, sum);
            let mut expected: Vec<(StreamName, Amount)> = Vec::new();
            for stream in streams.chars() {
                let count = streams.chars().filter(|s| *s == stream).count();
                let of_stream = (
                    name(&stream.to_string()),
                    Amount::new(count, 2 * count as u64),
                );
                if !expected.contains(&of_stream) {
                    expected.push(of_stream);
                }
            }
            assert_eq!(incoming.by_stream, expected, "{streams}");
        }
    }
}
