//! Chooses the format of a request.

use std::sync::atomic::{AtomicBool, Ordering};

use super::entry::Operation;
use super::host;

/// The format that requests are written in.
///
/// ```
/// # use flush_engine::aws::wire::WireFormat;
/// /// JSON for an emulator that does not read CBOR.
/// fn wire_format(endpoint_url: Option<&str>) -> WireFormat {
///     match endpoint_url {
///         Some(url) if url.contains("localhost") => WireFormat::Json,
///         _ => WireFormat::Auto,
///     }
/// }
/// assert_eq!(wire_format(None), WireFormat::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WireFormat {
    /// CBOR for AWS hosts, where it saves a quarter of the bytes and more of the CPU; JSON for
    /// every other endpoint. `AWS_CBOR_DISABLE=true` or `CBOR_ENABLED=false` in the environment
    /// selects JSON.
    #[default]
    Auto,
    /// CBOR, whatever the environment, and whatever the endpoint unless it refuses CBOR and
    /// accepts JSON.
    ///
    /// Some emulators of the service take CBOR for an empty request, or store garbage.
    Cbor,
    /// JSON.
    Json,
}

impl WireFormat {
    /// The requested format, adjusted to the environment.
    pub(super) fn in_environment(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let says = |name, words: [&str; 4]| {
            let value = variable(name).map(|value| value.trim().to_ascii_lowercase());
            value.is_some_and(|value| words.contains(&value.as_str()))
        };
        let is_off = says("AWS_CBOR_DISABLE", ["true", "1", "yes", "on"])
            || says("CBOR_ENABLED", ["false", "0", "no", "off"]);
        if self == Self::Auto && is_off {
            Self::Json
        } else {
            self
        }
    }
}

/// The format of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Cbor,
    Json,
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Cbor => "application/x-amz-cbor-1.1",
            Self::Json => "application/x-amz-json-1.1",
        }
    }
}

/// Chooses the format of the next request from what was requested and learned.
#[derive(Debug)]
pub(super) struct Choice {
    asked: WireFormat,
    /// Whether the last resolved endpoint is not one of AWS's own.
    is_elsewhere: AtomicBool,
    /// Whether a CBOR request was ever answered.
    is_understood: AtomicBool,
    /// Whether CBOR was refused before any of it was understood.
    is_refused: AtomicBool,
}

impl Choice {
    pub(super) fn new(operation: Operation, asked: WireFormat) -> Self {
        Self {
            asked: if operation.speaks_cbor() {
                asked
            } else {
                WireFormat::Json
            },
            is_elsewhere: AtomicBool::new(false),
            is_understood: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
        }
    }

    pub(super) fn next(&self) -> Format {
        let is_json = match self.asked {
            WireFormat::Json => true,
            WireFormat::Cbor => self.is_refused.load(Ordering::Relaxed),
            WireFormat::Auto => {
                self.is_refused.load(Ordering::Relaxed) || self.is_elsewhere.load(Ordering::Relaxed)
            }
        };
        if is_json { Format::Json } else { Format::Cbor }
    }

    /// Whether a request in this format may go to this endpoint.
    pub(super) fn suits(&self, format: Format, endpoint: &str) -> bool {
        if self.asked != WireFormat::Auto {
            return true;
        }
        let is_elsewhere = !host::is_of_aws(endpoint);
        self.is_elsewhere.store(is_elsewhere, Ordering::Relaxed);
        format == Format::Json || !is_elsewhere
    }

    pub(super) fn understood(&self) {
        self.is_understood.store(true, Ordering::Relaxed);
    }

    /// Whether the endpoint may be one that does not understand CBOR: it has not understood any yet.
    pub(super) fn may_be_refused(&self) -> bool {
        !self.is_understood.load(Ordering::Relaxed)
    }

    /// Notes that CBOR itself was refused. Returns whether that is new.
    pub(super) fn refused(&self) -> bool {
        self.may_be_refused() && !self.is_refused.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = "https://kinesis.us-east-1.amazonaws.com";
    const ELSEWHERE: &str = "http://localhost:4566";

    fn choice(asked: WireFormat) -> Choice {
        Choice::new(Operation::PutRecords, asked)
    }

    #[test]
    fn auto_follows_the_endpoint_that_was_resolved() {
        let choice = choice(WireFormat::Auto);
        assert_eq!(choice.next(), Format::Cbor);
        assert!(choice.suits(Format::Cbor, AWS));
        assert!(!choice.suits(Format::Cbor, ELSEWHERE));
        assert_eq!(choice.next(), Format::Json);
        assert!(choice.suits(Format::Json, AWS));
        assert_eq!(choice.next(), Format::Cbor);
    }

    #[test]
    fn what_is_asked_for_goes_anywhere() {
        for (asked, format) in [
            (WireFormat::Cbor, Format::Cbor),
            (WireFormat::Json, Format::Json),
        ] {
            let choice = choice(asked);
            for endpoint in [AWS, ELSEWHERE] {
                assert!(choice.suits(format, endpoint));
                assert_eq!(choice.next(), format);
            }
        }
    }

    #[test]
    fn a_refusal_is_believed_until_cbor_was_understood() {
        for asked in [WireFormat::Auto, WireFormat::Cbor] {
            let choice = choice(asked);
            assert!(choice.may_be_refused() && choice.refused());
            assert!(!choice.refused(), "no longer new");
            assert_eq!(choice.next(), Format::Json);
        }
        let choice = choice(WireFormat::Auto);
        choice.understood();
        assert!(!choice.may_be_refused() && !choice.refused());
        assert_eq!(choice.next(), Format::Cbor);
    }

    #[test]
    fn firehose_is_spoken_to_in_json() {
        for asked in [WireFormat::Auto, WireFormat::Cbor] {
            let choice = Choice::new(Operation::PutRecordBatch, asked);
            assert_eq!(choice.next(), Format::Json);
        }
    }

    #[test]
    fn the_environment_turns_cbor_off_unless_it_was_asked_for() {
        let told = |asked: WireFormat, name: &str, value: &str| {
            asked.in_environment(|asked| (asked == name).then(|| value.to_owned()))
        };
        for (name, value) in [
            ("AWS_CBOR_DISABLE", "true"),
            ("AWS_CBOR_DISABLE", " TRUE "),
            ("AWS_CBOR_DISABLE", "1"),
            ("CBOR_ENABLED", "false"),
            ("CBOR_ENABLED", "0"),
        ] {
            assert_eq!(told(WireFormat::Auto, name, value), WireFormat::Json);
            assert_eq!(told(WireFormat::Cbor, name, value), WireFormat::Cbor);
        }
        for (name, value) in [
            ("AWS_CBOR_DISABLE", ""),
            ("AWS_CBOR_DISABLE", "false"),
            ("CBOR_ENABLED", "true"),
            ("CBOR_ENABLED", ""),
        ] {
            assert_eq!(told(WireFormat::Auto, name, value), WireFormat::Auto);
        }
    }
}
