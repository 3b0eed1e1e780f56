//! The retry budget of a record and the waits of a drain: pure policy.

use std::time::Duration;

/// What becomes of a record that was charged a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// It is kept, with its count raised.
    Retry,
    /// The budget is used up.
    Discard,
}

/// Charges a failure to a record that was charged `attempts` before.
pub(crate) const fn charge(attempts: u32, max_retries: u32) -> Charge {
    if attempts >= max_retries {
        Charge::Discard
    } else {
        Charge::Retry
    }
}

/// How long a drain leaves a stream alone that failed `failures` times in a row:
/// up to 100 ms, doubled with each failure, 5 s at most, of which `dice` (0 to 1)
/// takes its share.
pub(crate) fn drain_wait(failures: u32, dice: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    let doublings = failures.saturating_sub(1).min(16);
    LONGEST
        .min(FIRST.saturating_mul(1 << doublings))
        .mul_f64(dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_charged_one_attempt_more_than_it_may_be_retried() {
        for max_retries in [0, 1, 5] {
            let charged = (0..)
                .take_while(|&n| charge(n, max_retries) == Charge::Retry)
                .count();
            assert_eq!(charged, max_retries as usize);
            assert_eq!(charge(max_retries, max_retries), Charge::Discard);
        }
    }

    #[test]
    fn a_lowered_budget_discards_at_the_next_failure() {
        assert_eq!(charge(9, 2), Charge::Discard);
    }

    #[test]
    fn waits_double_up_to_five_seconds_and_jitter_fully() {
        let longest: Vec<_> = (1..=8).map(|n| drain_wait(n, 1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(drain_wait(u32::MAX, 1.0), Duration::from_secs(5));
        assert_eq!(drain_wait(4, 0.0), Duration::ZERO);
        assert_eq!(drain_wait(1, 0.5), Duration::from_millis(50));
    }
}
