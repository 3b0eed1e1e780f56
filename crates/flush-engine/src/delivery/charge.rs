//! The retry budget of a record, and how often it is charged.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use record_cache::{RecordId, StreamName};

use crate::lifecycle::runtime::Instant;

/// The shortest time between two charges of a record by automatic passes and drains.
pub(super) const SPACING: Duration = Duration::from_secs(30);

/// What happens to a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// Kept unchanged, because it was charged recently.
    Free,
    /// Kept with a higher count.
    Retry,
    /// The budget is used up.
    Discard,
}

/// Decides whether to charge a failure to a record. `attempts` is the number of earlier charges,
/// `last` the time since the last one, if known, and `spacing` the shortest time between two
/// charges.
pub(super) fn charge(
    attempts: u32,
    max_retries: u32,
    last: Option<Duration>,
    spacing: Duration,
) -> Charge {
    if last.is_some_and(|last| last < spacing) {
        Charge::Free
    } else if attempts >= max_retries {
        Charge::Discard
    } else {
        Charge::Retry
    }
}

/// When records were last charged, for as long as that matters. Only this process knows: after a
/// restart, a record may be charged immediately.
#[derive(Debug, Default)]
pub(super) struct Charges(Mutex<HashMap<StreamName, HashMap<RecordId, Instant>>>);

impl Charges {
    /// How long ago a record was charged.
    pub(super) fn last(&self, stream: &StreamName, record: RecordId) -> Option<Duration> {
        let charges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = charges.get(stream)?.get(&record)?;
        Some(at.elapsed())
    }

    /// Notes that records were charged now. Forgets old charges.
    pub(super) fn note(&self, stream: &StreamName, records: &[RecordId]) {
        if records.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut charges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charges.retain(|_, of_stream| {
            of_stream.retain(|_, at| now.saturating_duration_since(*at) < SPACING);
            !of_stream.is_empty()
        });
        let of_stream = charges.entry(stream.clone()).or_default();
        of_stream.extend(records.iter().map(|&record| (record, now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_charged_one_attempt_more_than_it_may_be_retried() {
        for max_retries in [0, 1, 5] {
            let charged = (0..)
                .take_while(|&n| charge(n, max_retries, None, SPACING) == Charge::Retry)
                .count();
            assert_eq!(charged, max_retries as usize);
            let last = charge(max_retries, max_retries, None, SPACING);
            assert_eq!(last, Charge::Discard);
        }
    }

    #[test]
    fn a_lowered_budget_discards_at_the_next_failure() {
        assert_eq!(charge(9, 2, None, SPACING), Charge::Discard);
    }

    #[test]
    fn charges_are_spaced_in_time() {
        for (last, expected) in [
            (Duration::ZERO, Charge::Free),
            (SPACING - Duration::from_nanos(1), Charge::Free),
            (SPACING, Charge::Retry),
        ] {
            assert_eq!(charge(0, 5, Some(last), SPACING), expected);
            assert_eq!(charge(0, 5, Some(last), Duration::ZERO), Charge::Retry);
        }
        let soon = Some(Duration::ZERO);
        assert_eq!(charge(5, 5, soon, SPACING), Charge::Free);
        assert_eq!(charge(5, 5, soon, Duration::ZERO), Charge::Discard);
    }

    #[tokio::test(start_paused = true)]
    async fn charges_are_forgotten_once_they_do_not_matter() {
        let charges = Charges::default();
        let names = ["a", "b"].map(|name| StreamName::new(name).unwrap());
        charges.note(&names[0], &[RecordId::new(1), RecordId::new(2)]);
        tokio::time::advance(SPACING / 2).await;
        charges.note(&names[1], &[RecordId::new(1)]);
        assert_eq!(charges.last(&names[0], RecordId::new(2)), Some(SPACING / 2));
        tokio::time::advance(SPACING / 2).await;
        charges.note(&names[1], &[RecordId::new(9)]);
        assert_eq!(charges.0.lock().unwrap().len(), 1);
        assert_eq!(charges.last(&names[1], RecordId::new(1)), Some(SPACING / 2));
    }
}
