//! The only place that reads the system clock.

use std::time::SystemTime;

/// The time of day by the system clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the clock is read"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
