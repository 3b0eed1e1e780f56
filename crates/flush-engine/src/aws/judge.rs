//! What an AWS error code means for the records of a refused request.

use crate::Fault;

/// Classifies a refusal by the service's error code or, without one, by the HTTP status.
///
/// ```
/// use flush_engine::{Fault, aws::judge};
///
/// assert_eq!(judge(Some("InvalidArgumentException"), 400), Fault::Records);
/// assert_eq!(judge(Some("ResourceNotFoundException"), 400), Fault::Stream);
/// assert_eq!(judge(Some("ExpiredTokenException"), 400), Fault::Service);
/// assert_eq!(judge(None, 503), Fault::Service);
/// assert_eq!(judge(None, 403), Fault::Unreadable);
/// ```
#[must_use]
pub fn judge(code: Option<&str>, status: u16) -> Fault {
    const STREAM: [&str; 2] = ["ResourceNotFound", "InvalidSource"];
    const RECORDS: [&str; 3] = ["InvalidArgument", "Validation", "Serialization"];

    let begins_with = |prefixes: &[&str]| {
        code.is_some_and(|code| prefixes.iter().any(|prefix| code.starts_with(prefix)))
    };
    match (code, status) {
        _ if begins_with(&STREAM) => Fault::Stream,
        _ if begins_with(&RECORDS) => Fault::Records,
        (Some(_), _) => Fault::Service,
        (None, 413) => Fault::Records,
        (None, 429 | 500..=599) => Fault::Service,
        (None, _) => Fault::Unreadable,
    }
}

/// Whether an error code means that the credentials are invalid or expired.
pub(crate) fn refuses_credentials(code: &str) -> bool {
    ["ExpiredToken", "UnrecognizedClient", "InvalidSignature"]
        .iter()
        .any(|refusal| code.starts_with(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_outweighs_the_status() {
        for (code, fault) in [
            ("ResourceNotFoundException", Fault::Stream),
            ("InvalidSourceException", Fault::Stream),
            ("InvalidArgumentException", Fault::Records),
            ("ValidationException", Fault::Records),
            ("SerializationException", Fault::Records),
            ("ProvisionedThroughputExceededException", Fault::Service),
            ("ServiceUnavailableException", Fault::Service),
            ("InternalFailure", Fault::Service),
            ("AccessDeniedException", Fault::Service),
            ("ExpiredTokenException", Fault::Service),
            ("UnrecognizedClientException", Fault::Service),
            ("InvalidSignatureException", Fault::Service),
            ("RequestExpired", Fault::Service),
            ("KMSAccessDeniedException", Fault::Service),
            ("InvalidKMSResourceException", Fault::Service),
            ("SomethingNobodyHasHeardOf", Fault::Service),
        ] {
            for status in [200, 400, 413, 500] {
                assert_eq!(judge(Some(code), status), fault, "{code} {status}");
            }
        }
    }

    #[test]
    fn without_a_code_the_status_decides() {
        for (status, fault) in [
            (413, Fault::Records),
            (429, Fault::Service),
            (500, Fault::Service),
            (599, Fault::Service),
            (200, Fault::Unreadable),
            (302, Fault::Unreadable),
            (400, Fault::Unreadable),
            (403, Fault::Unreadable),
            (404, Fault::Unreadable),
            (407, Fault::Unreadable),
        ] {
            assert_eq!(judge(None, status), fault, "{status}");
        }
    }
}
