//! Packs several events into one record, and computes how many of a batch fit into one request.
//!
//! The engine deals only in events. Events become records when a batch is sent, and each event gets
//! its record's verdict. Before that, [`fit`] computes how many events of a batch one request
//! takes. It is conservative: it assumes the maximum size for each event.

mod fit;

use std::borrow::Cow;
use std::num::NonZeroUsize;

use aggregation::{Concatenation, Event, KplLimits, Method, Route, ShardMap, WireRecord};
use batcher::BatchLimits;
use record_cache::Record;

use crate::InvalidSetting;

/// Maximum events read for one request. Bisection finds one bad event among them within the
/// requests that a batch may take, and in memory they take a few MiB besides their payloads.
const MAX_EVENTS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// How events share records.
///
/// ```
/// use flush_engine::aws::Grouping;
/// use flush_engine::aws::aggregation::{Concatenation, KplLimits};
///
/// let kpl = Grouping::kpl(KplLimits::default())?;
/// let lines = Grouping::concatenate(Concatenation::default())?;
/// // One event in each record, which ends with a newline.
/// let delimited = Grouping::delimit(&b"\n"[..]);
/// assert!(Grouping::kpl(KplLimits::default().max_events(0)).is_err());
/// # Ok::<(), flush_engine::InvalidSetting>(())
/// ```
#[derive(Debug, Clone)]
pub struct Grouping {
    method: Method,
}

impl Grouping {
    /// Packs events in the KPL's format.
    ///
    /// # Errors
    /// [`InvalidSetting`] when a limit is zero.
    pub fn kpl(limits: KplLimits) -> Result<Self, InvalidSetting> {
        positive("max_bytes", limits.max_bytes)?;
        positive("max_events", limits.max_events)?;
        let method = Method::Kpl(limits);
        Ok(Self { method })
    }

    /// Joins events with a delimiter.
    ///
    /// # Errors
    /// [`InvalidSetting`] when a limit is zero.
    pub fn concatenate(concatenation: Concatenation) -> Result<Self, InvalidSetting> {
        positive("max_bytes", concatenation.max_bytes)?;
        positive("max_events", concatenation.max_events)?;
        let method = Method::Concatenate(concatenation);
        Ok(Self { method })
    }

    /// Sends each event in its own record, which ends with a delimiter.
    #[must_use]
    pub fn delimit(delimiter: impl Into<Cow<'static, [u8]>>) -> Self {
        let concatenation = Concatenation::default().delimiter(delimiter).max_events(1);
        Self {
            method: Method::Concatenate(concatenation),
        }
    }

    /// Limits records to this many bytes.
    pub(crate) fn within(mut self, bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        match &mut self.method {
            Method::Kpl(limits) => limits.max_bytes = limits.max_bytes.min(bytes),
            Method::Concatenate(joined) => joined.max_bytes = joined.max_bytes.min(bytes),
            _ => {}
        }
        self
    }

    /// How much to read for a request of this size.
    pub(crate) fn limits(&self, mut request: BatchLimits) -> BatchLimits {
        if self.max_events() > 1 {
            request.max_items = request.max_items.max(MAX_EVENTS);
        }
        request
    }

    /// Whether records are built per shard.
    pub(crate) const fn is_by_shard(&self) -> bool {
        matches!(self.method, Method::Kpl(_))
    }

    /// The size of a payload in its own record, or more than `most`.
    pub(crate) fn alone(&self, payload: &[u8], most: u64) -> u64 {
        let Method::Concatenate(joined) = &self.method else {
            return payload.len() as u64;
        };
        let within = joined.joined_bytes_within(usize::try_from(most).unwrap_or(usize::MAX));
        let bytes = joined.joined_size(payload);
        let over = bytes.saturating_sub(within) as u64;
        match over {
            0 => bytes as u64,
            over => most.saturating_add(over),
        }
    }

    /// How many events at the start of a batch fit into one request, at least one.
    pub(crate) fn fit(
        &self,
        batch: &[Record],
        request: BatchLimits,
        shards: Option<&ShardMap>,
    ) -> usize {
        fit::fit(&self.method, batch, request, shards).max(1)
    }

    /// Packs events into records.
    pub(crate) fn records<'a, 'm>(
        &self,
        batch: &'a [Record],
        shards: Option<&'m ShardMap>,
        max_record_bytes: u64,
    ) -> Vec<WireRecord<'a, 'm>> {
        let route = shards.map_or(Route::ByKey, Route::ByShard);
        let mut records = aggregation::aggregate(batch.iter().map(event), route, &self.method);
        if let Method::Concatenate(joined) = &self.method {
            // Recorded before a delimiter or compression was set: sending it without is better than
            // not at all.
            for record in &mut records {
                let key = record.partition_key.len();
                let fits = |data: &[u8]| (data.len() + key) as u64 <= max_record_bytes;
                if let ([at], false) = (&record.events[..], fits(&record.data)) {
                    let payload = &*batch[*at].data;
                    let bare = joined.clone().delimiter(&b""[..]);
                    let bare = bare.single(payload);
                    if fits(&bare) {
                        record.data = Cow::Owned(bare.into_owned());
                    } else if fits(payload) {
                        record.data = Cow::Borrowed(payload);
                    }
                }
            }
        }
        records
    }

    fn max_events(&self) -> usize {
        match &self.method {
            Method::Kpl(limits) => limits.max_events,
            Method::Concatenate(joined) => joined.max_events,
            _ => 1,
        }
    }
}

/// A cached record as an event.
pub(crate) fn event(record: &Record) -> Event<'_> {
    Event {
        explicit_hash_key: record.explicit_hash_key,
        ..Event::new(record.key.as_deref().unwrap_or_default(), &record.data)
    }
}

/// How many records at the start fit into one request.
pub(crate) fn within_request(records: &[WireRecord<'_, '_>], request: BatchLimits) -> usize {
    let mut left = request.max_bytes.get();
    let fits = |record: &&WireRecord<'_, '_>| {
        let size = (record.data.len() + record.partition_key.len()) as u64;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    let first = records.iter().take(request.max_items.get());
    first.take_while(fits).count().max(1)
}

fn positive(limit: &str, value: usize) -> Result<(), InvalidSetting> {
    if value > 0 {
        return Ok(());
    }
    Err(InvalidSetting::new(
        "aggregation",
        format!("its {limit} is zero"),
        format!("set {limit} to one or more, or aggregation to None"),
    ))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::SystemTime;

    use bytes::Bytes;
    use record_cache::RecordId;

    use super::*;

    fn record(key: &str, data: usize) -> Record {
        let data = Bytes::from(vec![7; data]);
        let key = Some(key.to_owned());
        Record::new(RecordId::new(1), key, data, 0, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_payload_that_leaves_no_room_for_its_delimiter_goes_without() {
        let lines = Grouping::concatenate(Concatenation::default()).unwrap();
        for (data, sent) in [(8, 9), (9, 10), (10, 10)] {
            let batch = [record("", data)];
            let records = lines.records(&batch, None, 10);
            assert_eq!(records[0].data.len(), sent);
        }
        assert_eq!(lines.alone(&[7; 9], 10), 10);
        assert!(lines.alone(&[7; 10], 10) > 10);
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn a_payload_that_compression_makes_too_large_goes_as_it_is() {
        let gzip = Concatenation::default().compression(aggregation::Compression::Gzip);
        let gzip = Grouping::concatenate(gzip).unwrap();
        let mut noise = record("", 0);
        noise.data = (0..200_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let batch = [noise];
        for (most, is_plain) in [(900, false), (800, true)] {
            let records = gzip.records(&batch, None, most);
            assert_eq!(*records[0].data == *batch[0].data, is_plain, "{most}");
        }
    }

    #[test]
    fn what_does_not_fit_into_a_request_is_left() {
        let batch: Vec<_> = (0..5).map(|n| record(&n.to_string(), 9)).collect();
        let kpl = Grouping::kpl(KplLimits::default()).unwrap();
        let records = kpl.records(&batch, None, 100);
        let request = |items: usize, bytes: u64| {
            let items = NonZeroUsize::new(items).unwrap();
            BatchLimits::new(items, NonZeroU64::new(bytes).unwrap())
        };
        assert_eq!(within_request(&records, request(500, 1000)), 5);
        assert_eq!(within_request(&records, request(3, 1000)), 3);
        assert_eq!(within_request(&records, request(500, 39)), 3);
        assert_eq!(within_request(&records, request(500, 40)), 4);
        assert_eq!(within_request(&records, request(500, 1)), 1);
    }
}
