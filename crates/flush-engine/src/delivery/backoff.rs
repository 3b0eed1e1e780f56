//! How long to back off from a stream after a failure: pure policy.

use std::time::Duration;

/// How long a drain or adaptive flushing skips a stream after `failures` failures in a row. The
/// limit starts at 100 ms and doubles with each failure, capped at 5 s. The wait is that limit
/// times `jitter` (0 to 1).
pub(crate) fn drain_wait(failures: u32, jitter: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    backoff(FIRST, LONGEST, failures, jitter)
}

/// How long a timer with this interval skips a stream that the service turned away `refusals` times
/// in a row. The limit starts at two intervals and doubles with each refusal, capped at 32
/// intervals and 5 minutes. The wait is that limit times `jitter` (0 to 1).
pub(crate) fn timer_wait(interval: Duration, refusals: u32, jitter: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(300);

    let longest = LONGEST.min(interval.saturating_mul(32));
    backoff(interval.saturating_mul(2), longest, refusals, jitter)
}

/// Exponential, capped, with full jitter.
fn backoff(first: Duration, longest: Duration, times: u32, jitter: f64) -> Duration {
    let doublings = times.saturating_sub(1).min(16);
    longest
        .min(first.saturating_mul(1 << doublings))
        .mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_of_a_drain_double_up_to_five_seconds_and_jitter_fully() {
        let longest: Vec<_> = (1..=8).map(|n| drain_wait(n, 1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(drain_wait(u32::MAX, 1.0), 5 * SECOND);
        assert_eq!(drain_wait(4, 0.0), Duration::ZERO);
        assert_eq!(drain_wait(1, 0.5), Duration::from_millis(50));
    }

    #[test]
    fn waits_of_a_timer_double_up_to_32_intervals_and_jitter_fully() {
        let longest: Vec<_> = (1..=7)
            .map(|n| timer_wait(SECOND, n, 1.0).as_secs())
            .collect();
        assert_eq!(longest, [2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(timer_wait(SECOND, 3, 0.0), Duration::ZERO);
        assert_eq!(timer_wait(SECOND, 3, 0.25), 2 * SECOND);
    }

    #[test]
    fn a_timer_waits_no_longer_than_five_minutes_for_a_stream() {
        let longest: Vec<_> = (1..=6)
            .map(|n| timer_wait(30 * SECOND, n, 1.0).as_secs())
            .collect();
        assert_eq!(longest, [60, 120, 240, 300, 300, 300]);
        for interval in [3600 * SECOND, Duration::MAX] {
            assert_eq!(timer_wait(interval, u32::MAX, 1.0), 300 * SECOND);
        }
    }
}
