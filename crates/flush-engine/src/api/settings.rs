//! Validation of settings.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// A setting that cannot be used, and how to fix it.
///
/// ```
/// use flush_engine::InvalidSetting;
///
/// fn port(value: u16) -> Result<u16, InvalidSetting> {
///     match value {
///         0 => Err(InvalidSetting::new("port", "must not be zero", "set port to 80 or another")),
///         port => Ok(port),
///     }
/// }
/// assert_eq!(port(0).expect_err("zero").to_string(), "port: must not be zero");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting, named after its setter.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub suggestion: String,
}

impl InvalidSetting {
    /// Combines a setting, its problem and a suggestion.
    pub fn new(
        setting: &'static str,
        problem: impl Into<String>,
        suggestion: impl Into<String>,
    ) -> Self {
        Self {
            setting,
            problem: problem.into(),
            suggestion: suggestion.into(),
        }
    }

    fn zero(setting: &'static str) -> Self {
        Self::new(
            setting,
            "must not be zero",
            format!("set {setting} to more than zero"),
        )
    }
}

/// Checks that a byte count is not zero.
///
/// ```
/// use flush_engine::non_zero_bytes;
///
/// let error = non_zero_bytes("cache_max_bytes", 0).expect_err("zero");
/// assert_eq!(error.suggestion, "set cache_max_bytes to more than zero");
/// ```
///
/// # Errors
/// [`InvalidSetting`], naming the setting.
pub fn non_zero_bytes(setting: &'static str, value: u64) -> Result<NonZeroU64, InvalidSetting> {
    NonZeroU64::new(value).ok_or_else(|| InvalidSetting::zero(setting))
}

/// Checks that a count is not zero.
///
/// ```
/// use flush_engine::non_zero_count;
///
/// let error = non_zero_count("max_concurrent_streams", 0).expect_err("zero");
/// assert_eq!(error.suggestion, "set max_concurrent_streams to more than zero");
/// ```
///
/// # Errors
/// [`InvalidSetting`], naming the setting.
pub fn non_zero_count(setting: &'static str, value: usize) -> Result<NonZeroUsize, InvalidSetting> {
    NonZeroUsize::new(value).ok_or_else(|| InvalidSetting::zero(setting))
}

/// Checks that a duration is not zero.
///
/// ```
/// use flush_engine::non_zero_time;
/// use std::time::Duration;
///
/// let error = non_zero_time("request_timeout", Duration::ZERO).expect_err("zero");
/// assert_eq!(error.suggestion, "set request_timeout to more than zero");
/// ```
///
/// # Errors
/// [`InvalidSetting`], naming the setting.
pub fn non_zero_time(setting: &'static str, value: Duration) -> Result<Duration, InvalidSetting> {
    if value.is_zero() {
        Err(InvalidSetting::zero(setting))
    } else {
        Ok(value)
    }
}
