//! The one place that asks the system for the time of day.

use std::time::SystemTime;

/// The present moment, as the system's clock has it.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the clock is read"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
