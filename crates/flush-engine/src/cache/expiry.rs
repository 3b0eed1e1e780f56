//! Records that are too old to be sent.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use record_cache::{NewRecord, Record};

use crate::lifecycle::runtime::{Instant, wall_clock};

/// A larger difference between the two clocks counts as a jump.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Stores keep times with millisecond precision.
const GRAIN: Duration = Duration::from_millis(1);

/// Decides which records are too old, by the system clock and, for records of this process, by the
/// monotonic clock. The lower age counts, so setting the clock forward does not expire new records.
///
/// A record with a future time was recorded before the clock was set back. Its age is unknown, but
/// at least as long as the record has been known.
#[derive(Debug)]
pub(super) struct Expiry {
    max_age: Option<Duration>,
    clock: Mutex<Clock>,
}

/// What is known about the system clock.
#[derive(Debug, Default)]
struct Clock {
    /// The last reading of both clocks.
    seen: Option<(Instant, SystemTime)>,
    /// When records with a future time were first seen.
    ahead: Option<Instant>,
    /// Stretches of time without a jump, oldest first.
    eras: VecDeque<Era>,
}

/// A period in which the system clock did not jump.
#[derive(Debug)]
struct Era {
    since: Instant,
    wall: SystemTime,
    /// The recording times of this process's first and last records.
    recorded: Option<(SystemTime, SystemTime)>,
}

impl Expiry {
    pub(super) fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            clock: Mutex::default(),
        }
    }

    /// Notes that this process recorded these records.
    pub(super) fn recorded(&self, records: &[NewRecord]) {
        if self.max_age.is_none() {
            return;
        }
        let times = || records.iter().map(|record| record.recorded_at);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return;
        };
        let mut clock = self.clock();
        let now = (Instant::now(), wall_clock());
        clock.look(now);
        clock.recorded(first, now.0);
        clock.recorded(last, now.0);
    }

    /// Removes records that are too old from a batch.
    pub(super) fn take_expired(&self, batch: &mut Vec<Record>) -> Vec<Record> {
        let Some(max_age) = self.max_age else {
            return Vec::new();
        };
        let mut clock = self.clock();
        let now = (Instant::now(), wall_clock());
        clock.look(now);
        let expired = batch.extract_if(.., |record| clock.age(record.recorded_at, now) > max_age);
        expired.collect()
    }

    /// Whether this process recorded a record at this time.
    #[cfg(test)]
    pub(super) fn knows(&self, recorded_at: SystemTime) -> bool {
        let clock = self.clock();
        clock.age_by_process(recorded_at, Instant::now()).is_some()
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// Starts a new era if the clock has jumped. If it was set back again, forgets when records
    /// with a future time were first seen, since new ones may be younger.
    fn look(&mut self, (monotonic, now): (Instant, SystemTime)) {
        const MOST_ERAS: usize = 64;
        let jumped = match self.seen {
            None => true,
            Some((at, then)) => {
                let expected = then + monotonic.saturating_duration_since(at);
                let set_back = now + TOLERANCE < expected;
                if set_back {
                    self.ahead = None;
                }
                set_back || now > expected + TOLERANCE
            }
        };
        if jumped {
            if self.eras.len() == MOST_ERAS {
                self.eras.pop_front();
            }
            self.eras.push_back(Era {
                since: monotonic,
                wall: now,
                recorded: None,
            });
        }
        self.seen = Some((monotonic, now));
    }

    /// Notes that this process recorded a record at this time of the system clock.
    fn recorded(&mut self, at: SystemTime, monotonic: Instant) {
        let mut end = monotonic;
        for era in self.eras.iter_mut().rev() {
            let until = era.wall + end.saturating_duration_since(era.since) + TOLERANCE;
            if at + TOLERANCE >= era.wall && at <= until {
                let (first, last) = era.recorded.unwrap_or((at, at));
                era.recorded = Some((first.min(at), last.max(at)));
                return;
            }
            end = era.since;
        }
    }

    /// The age of a record: the lower of the two clocks' ages.
    fn age(&mut self, recorded_at: SystemTime, now: (Instant, SystemTime)) -> Duration {
        let by_system = self.age_by_system(recorded_at, now);
        match self.age_by_process(recorded_at, now.0) {
            Some(by_process) => by_process.min(by_system),
            None => by_system,
        }
    }

    fn age_by_system(
        &mut self,
        recorded_at: SystemTime,
        (monotonic, now): (Instant, SystemTime),
    ) -> Duration {
        now.duration_since(recorded_at).unwrap_or_else(|_ahead| {
            let since = *self.ahead.get_or_insert(monotonic);
            monotonic.saturating_duration_since(since)
        })
    }

    /// The time since `recorded_at`, if this process recorded the record.
    fn age_by_process(&self, recorded_at: SystemTime, monotonic: Instant) -> Option<Duration> {
        let era = self.eras.iter().rev().find(|era| {
            era.recorded
                .is_some_and(|(first, last)| first <= recorded_at + GRAIN && recorded_at <= last)
        })?;
        let into_era = recorded_at.duration_since(era.wall).unwrap_or_default();
        let age = monotonic.saturating_duration_since(era.since);
        Some(age.saturating_sub(into_era))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + 12 * HOUR
    }

    /// The age of a record at these moments, each given as the real time since the first moment and
    /// the clock reading.
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
            // The computer slept, or its clock was set forward.
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
            // The monotonic clock does not count sleep.
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
            // Corrected in between.
            (4 * HOUR, noon() + 4 * HOUR),
            (5 * HOUR, noon() - 2 * HOUR),
            (6 * HOUR, noon() - HOUR),
        ];
        let expected = [0, 1, 0, 1, 4, 0, 1].map(|hours| hours * HOUR);
        assert_eq!(ages(noon(), moments), expected);
    }

    /// As [`ages`], for a record that this process recorded at the first moment.
    fn ages_here<const N: usize>(moments: [(Duration, SystemTime); N]) -> [Duration; N] {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let recorded_at = moments[0].1;
        moments.map(|(passed, time_of_day)| {
            let now = (start + passed, time_of_day);
            clock.look(now);
            if passed.is_zero() {
                clock.recorded(recorded_at, now.0);
            }
            clock.age(recorded_at, now)
        })
    }

    #[test]
    fn a_clock_that_is_set_forward_makes_nothing_older_that_was_recorded_here() {
        let moments = [
            (Duration::ZERO, noon()),
            (HOUR, noon() + HOUR),
            (2 * HOUR, noon() + 99 * HOUR),
            (3 * HOUR, noon() + 100 * HOUR),
            // Corrected again.
            (4 * HOUR, noon() + 4 * HOUR),
        ];
        assert_eq!(
            ages_here(moments),
            [0, 1, 2, 3, 4].map(|hours| hours * HOUR)
        );
    }

    #[test]
    fn a_record_that_was_stamped_before_a_jump_and_stored_behind_it_is_of_the_era_before() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        clock.look((start, noon()));
        let now = (start + HOUR, noon() + 99 * HOUR);
        clock.look(now);
        let stamped = noon() + HOUR / 2;
        clock.recorded(stamped, now.0);
        assert_eq!(clock.age(stamped, now), HOUR / 2);
    }

    #[test]
    fn eras_stay_few_however_often_the_clock_jumps() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        for jump in 0..1000 {
            clock.look((start, noon() + jump * HOUR));
        }
        assert!(clock.eras.len() <= 64, "{}", clock.eras.len());
    }
}
