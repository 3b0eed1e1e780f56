//! Counters, gauges and histograms through the `metrics` facade.
//!
//! Names and labels are stable: see `docs/observability.md`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use batcher::BatchLimits;
use metrics::{
    Counter, Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use record_cache::{Amount, Record, StreamName};

use crate::api::{DiscardReason, EngineOptions, SendError, Verdict};

/// Labels every metric with the client.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    labels: [Label; 2],
    /// Streams whose counters of losses exist.
    known: Arc<Mutex<HashSet<StreamName>>>,
}

impl Meter {
    pub(crate) fn new(options: &EngineOptions) -> Self {
        describe();
        let region = options.region.clone();
        Self {
            labels: [
                Label::from_static_parts("client", options.client),
                Label::new("region", region),
            ],
            known: Arc::default(),
        }
    }

    /// Starts the counters of lost and refused records of new streams at zero. Monitoring sees a
    /// counter that appears with its first loss, but no increase.
    pub(crate) fn begin<'a>(&self, streams: impl Iterator<Item = &'a StreamName>) {
        let mut new = Vec::new();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams {
            if !known.contains(stream) {
                known.insert(stream.clone());
                new.push(stream);
            }
        }
        // The recorder is the program's own code, so it runs without the lock.
        drop(known);
        for stream in new {
            let labels = self.of(stream);
            counter!("amplify_refused_records_total", labels.iter()).increment(0);
            for reason in DiscardReason::ALL {
                self.of_reason(stream, reason).increment(0);
            }
        }
    }

    /// Sets the gauges of cached records, including those being stored.
    pub(crate) fn cached(&self, records: u64, bytes: u64) {
        gauge!("amplify_cached_records", self.labels.iter()).set(as_f64(records));
        gauge!("amplify_cached_bytes", self.labels.iter()).set(as_f64(bytes));
    }

    /// Sets the cache limit.
    pub(crate) fn limit(&self, bytes: u64) {
        gauge!("amplify_cache_limit_bytes", self.labels.iter()).set(as_f64(bytes));
    }

    /// Sets the age of a stream's oldest record.
    pub(crate) fn oldest(&self, stream: &StreamName, age: Duration) {
        gauge!("amplify_oldest_record_seconds", self.of(stream)).set(age.as_secs_f64());
    }

    /// Counts records refused for lack of room.
    pub(crate) fn refused(&self, by_stream: &[(StreamName, Amount)]) {
        self.begin(by_stream.iter().map(|(stream, _)| stream));
        for (stream, size) in by_stream {
            self.count("amplify_refused_records_total", stream, size.records);
        }
    }

    pub(crate) fn recorded(&self, by_stream: &[(StreamName, Amount)]) {
        self.begin(by_stream.iter().map(|(stream, _)| stream));
        for (stream, size) in by_stream {
            let labels = self.of(stream);
            counter!("amplify_recorded_records_total", labels.iter())
                .increment(size.records as u64);
            counter!("amplify_recorded_bytes_total", labels.iter()).increment(size.bytes);
        }
    }

    pub(crate) fn flushed(&self, stream: &StreamName, records: usize) {
        self.count("amplify_flushed_records_total", stream, records);
    }

    pub(crate) fn retried(&self, stream: &StreamName, records: usize) {
        self.count("amplify_retried_records_total", stream, records);
    }

    pub(crate) fn discarded(&self, stream: &StreamName, reason: DiscardReason, records: usize) {
        if records > 0 {
            self.of_reason(stream, reason).increment(records as u64);
        }
    }

    fn of_reason(&self, stream: &StreamName, reason: DiscardReason) -> Counter {
        let mut labels = self.of(stream);
        labels.push(Label::from_static_parts("reason", reason.word()));
        counter!("amplify_discarded_records_total", labels)
    }

    /// Reports one request: its size, duration and outcome.
    pub(crate) fn request(
        &self,
        stream: &StreamName,
        batch: &[Record],
        limits: BatchLimits,
        took: Duration,
        answer: &Result<Vec<Verdict>, SendError>,
    ) {
        let bytes: u64 = batch.iter().map(Record::size).sum();
        let of_records = as_f64(batch.len() as u64) / as_f64(limits.max_items.get() as u64);
        let of_bytes = as_f64(bytes) / as_f64(limits.max_bytes.get());
        let mut labels = self.of(stream);
        histogram!("amplify_batch_fill_records", labels.iter()).record(of_records);
        histogram!("amplify_batch_fill_bytes", labels.iter()).record(of_bytes);
        labels.push(Label::from_static_parts("outcome", outcome(answer)));
        counter!("amplify_requests_total", labels.iter()).increment(1);
        histogram!("amplify_request_seconds", labels).record(took);
    }

    /// Reports one request that is sent, and its contents. Several records may be packed into one
    /// service record. A request may be repeated before its outcome is [reported](Self::request).
    #[cfg(feature = "aws")]
    pub(crate) fn sent(&self, stream: &StreamName, records: usize, bytes: usize) {
        let labels = self.of(stream);
        counter!("amplify_sent_requests_total", labels.iter()).increment(1);
        counter!("amplify_sent_records_total", labels.iter()).increment(records as u64);
        counter!("amplify_sent_bytes_total", labels.iter()).increment(bytes as u64);
    }

    fn count(&self, name: &'static str, stream: &StreamName, records: usize) {
        if records > 0 {
            counter!(name, self.of(stream)).increment(records as u64);
        }
    }

    fn of(&self, stream: &StreamName) -> Vec<Label> {
        let mut labels = self.labels.to_vec();
        labels.push(Label::new("stream", stream.as_str().to_owned()));
        labels
    }
}

fn outcome(answer: &Result<Vec<Verdict>, SendError>) -> &'static str {
    match answer {
        Ok(verdicts) if verdicts.iter().all(|v| matches!(v, Verdict::Accepted(_))) => "accepted",
        Ok(_) => "partial",
        Err(SendError::Refused { .. }) => "refused",
        Err(SendError::NoAnswer { .. }) => "no_answer",
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, which is beyond what is counted here"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn describe() {
    describe_counter!(
        "amplify_recorded_records_total",
        Unit::Count,
        "Records stored"
    );
    describe_counter!(
        "amplify_recorded_bytes_total",
        Unit::Bytes,
        "Bytes of records stored"
    );
    describe_counter!(
        "amplify_flushed_records_total",
        Unit::Count,
        "Records that the service accepted"
    );
    describe_counter!(
        "amplify_retried_records_total",
        Unit::Count,
        "Records kept with their retry count raised"
    );
    describe_counter!(
        "amplify_discarded_records_total",
        Unit::Count,
        "Records discarded"
    );
    describe_counter!(
        "amplify_requests_total",
        Unit::Count,
        "Requests to the service, by outcome"
    );
    describe_counter!(
        "amplify_sent_requests_total",
        Unit::Count,
        "Requests sent, immediate repeats included"
    );
    describe_counter!(
        "amplify_sent_records_total",
        Unit::Count,
        "Records in requests, as the service counts them"
    );
    describe_counter!(
        "amplify_sent_bytes_total",
        Unit::Bytes,
        "Bytes of records in requests, as the service counts them"
    );
    describe_gauge!(
        "amplify_cached_records",
        Unit::Count,
        "Records that are cached or being cached"
    );
    describe_gauge!(
        "amplify_cached_bytes",
        Unit::Bytes,
        "Bytes of records that are cached or being cached"
    );
    describe_counter!(
        "amplify_refused_records_total",
        Unit::Count,
        "Records for which the cache had no room"
    );
    describe_gauge!(
        "amplify_cache_limit_bytes",
        Unit::Bytes,
        "Bytes of records that may be cached"
    );
    describe_gauge!(
        "amplify_oldest_record_seconds",
        Unit::Seconds,
        "Age of the oldest undelivered record of a stream, as of the last attempt to send it"
    );
    describe_histogram!(
        "amplify_request_seconds",
        Unit::Seconds,
        "How long a request took, the SDK's own retries included"
    );
    describe_histogram!(
        "amplify_batch_fill_records",
        "Records in a request, as a fraction of what it may have"
    );
    describe_histogram!(
        "amplify_batch_fill_bytes",
        "Bytes in a request, as a fraction of what it may have"
    );
}
