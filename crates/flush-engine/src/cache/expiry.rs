//! Records that have grown too old to be sent.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use record_cache::Record;
use tokio::time::Instant;

use crate::cache::clock;

/// Tells which records have grown too old, by the system's clock.
///
/// A record of a future time was recorded before the clock was set back. Its age is unknown,
/// but it is at least the time for which the record has been known.
#[derive(Debug)]
pub(super) struct Expiry {
    max_age: Option<Duration>,
    clock: Mutex<Clock>,
}

/// What is known of the system's clock.
#[derive(Debug, Default)]
struct Clock {
    /// When it was last looked at, and what it said.
    seen: Option<(Instant, SystemTime)>,
    /// Since when records of a future time are known.
    ahead: Option<Instant>,
}

impl Expiry {
    pub(super) fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            clock: Mutex::default(),
        }
    }

    /// Takes those records out of a batch that are too old.
    pub(super) fn take_expired(&self, batch: &mut Vec<Record>) -> Vec<Record> {
        let Some(max_age) = self.max_age else {
            return Vec::new();
        };
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (Instant::now(), clock::now());
        clock.look(now);
        let expired = batch.extract_if(.., |record| clock.age(record.recorded_at, now) > max_age);
        expired.collect()
    }
}

impl Clock {
    /// Forgets what was known if the clock was set back once more: records of a future time
    /// may be younger than the others then.
    fn look(&mut self, (monotonic, now): (Instant, SystemTime)) {
        const TOLERANCE: Duration = Duration::from_secs(1);
        if let Some((at, then)) = self.seen {
            let passed = monotonic.saturating_duration_since(at);
            if now + TOLERANCE < then + passed {
                self.ahead = None;
            }
        }
        self.seen = Some((monotonic, now));
    }

    /// The least age of a record.
    fn age(
        &mut self,
        recorded_at: SystemTime,
        (monotonic, now): (Instant, SystemTime),
    ) -> Duration {
        now.duration_since(recorded_at).unwrap_or_else(|_ahead| {
            let since = *self.ahead.get_or_insert(monotonic);
            monotonic.saturating_duration_since(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + 12 * HOUR
    }

    /// How old a record is at these moments, given as what has really passed since the
    /// first and what the clock says.
    fn ages<const N: usize>(
        recorded_at: SystemTime,
        moments: [(Duration, SystemTime); N],
    ) -> [Duration; N] {
        let (mut clock, start) = (Clock::default(), Instant::now());
        moments.map(|(passed, time_of_day)| {
            let now = (start + passed, time_of_day);
            clock.look(now);
            clock.age(recorded_at, now)
        })
    }

    #[test]
    fn the_age_is_what_the_clock_says() {
        let moments = [
            (Duration::ZERO, noon()),
            (HOUR, noon() + HOUR),
            // A computer that slept, or whose clock was set forward.
            (2 * HOUR, noon() + 99 * HOUR),
        ];
        assert_eq!(ages(noon(), moments), [Duration::ZERO, HOUR, 99 * HOUR]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_older() {
        let back = noon() - 10 * HOUR;
        assert_eq!(ages(noon(), [(HOUR, back)]), [Duration::ZERO]);
        assert_eq!(ages(back, [(HOUR, back)]), [Duration::ZERO]);
    }

    #[test]
    fn records_of_a_time_to_come_grow_old_too() {
        let back = noon() - 10 * HOUR;
        let moments = [
            (Duration::ZERO, back),
            (HOUR / 2, back + HOUR / 2),
            (HOUR, back + HOUR),
            // What passes while the computer sleeps is not counted.
            (2 * HOUR, back + 9 * HOUR),
            (3 * HOUR, back + 11 * HOUR),
        ];
        let expected = [Duration::ZERO, HOUR / 2, HOUR, 2 * HOUR, HOUR];
        assert_eq!(ages(noon(), moments), expected);
    }

    #[test]
    fn set_back_once_more_they_begin_anew() {
        let moments = [
            (Duration::ZERO, noon() - 2 * HOUR),
            (HOUR, noon() - HOUR),
            (2 * HOUR, noon() - 5 * HOUR),
            (3 * HOUR, noon() - 4 * HOUR),
            // Set right in between.
            (4 * HOUR, noon() + 4 * HOUR),
            (5 * HOUR, noon() - 2 * HOUR),
            (6 * HOUR, noon() - HOUR),
        ];
        let expected = [0, 1, 0, 1, 4, 0, 1].map(|hours| hours * HOUR);
        assert_eq!(ages(noon(), moments), expected);
    }
}
