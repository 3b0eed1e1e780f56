//! The only place that reads the system clock.

#[cfg(any(feature = "sled", feature = "journal"))]
use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time, truncated to the millisecond that stores keep.
#[cfg(not(all(feature = "browser", target_arch = "wasm32", target_os = "unknown")))]
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the clock is read"
)]
pub(crate) fn now() -> SystemTime {
    from_unix_millis(to_unix_millis(SystemTime::now()))
}

/// The current time, from the browser: the standard library has no clock on this target.
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a conversion of a float saturates"
)]
pub(crate) fn now() -> SystemTime {
    from_unix_millis(js_sys::Date::now() as u64)
}

/// A moment for measuring durations.
#[cfg(any(feature = "sled", feature = "journal"))]
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the clock is read"
)]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970; a clock set before that counts as 1970.
pub(crate) fn to_unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let of_seconds = since.as_secs().saturating_mul(1000);
    of_seconds.saturating_add(since.subsec_millis().into())
}

/// The moment this many milliseconds after 1970, as far as the platform can represent it.
pub(crate) fn from_unix_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}
