//! How a request can fail, whatever the service.

use std::error::Error;
use std::fmt;

/// Who is at fault when a service refuses a whole request. Decides which records are charged.
///
/// ```
/// use flush_engine::{Fault, SendError};
///
/// // A service that says 400 when it dislikes a record, and 503 when it is busy.
/// fn refused(status: u16, message: &str) -> SendError {
///     let fault = match status {
///         400 => Fault::Records,
///         404 => Fault::Stream,
///         429 | 503 => Fault::Service,
///         _ => Fault::Unreadable,
///     };
///     SendError::refused(fault, None, message)
/// }
/// assert!(matches!(refused(503, "busy"), SendError::Refused { fault: Fault::Service, .. }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The contents: some record may be unacceptable. The batch is bisected, and bad records are
    /// charged.
    Records,
    /// The stream: it does not exist, or does not accept records. All records are charged.
    Stream,
    /// The service, or the caller's permissions. Nothing is charged.
    Service,
    /// Unknown: the answer is unreadable or came from elsewhere. Nothing is charged.
    Unreadable,
}

/// Why there was no readable answer.
///
/// ```
/// # use flush_engine::NoAnswer;
/// /// What to tell the user.
/// fn advice(reason: NoAnswer) -> &'static str {
///     match reason {
///         NoAnswer::Offline | NoAnswer::TimedOut => "waiting for the network",
///         NoAnswer::Credentials => "sign in again",
///         _ => "something is wrong, see the logs",
///     }
/// }
/// assert_eq!(advice(NoAnswer::Offline), "waiting for the network");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The service could not be reached, or the connection broke.
    Offline,
    /// The answer took too long.
    TimedOut,
    /// There were no credentials to sign the request.
    Credentials,
    /// An answer arrived, but not from the service.
    Unreadable,
    /// Anything else.
    Other,
}

impl NoAnswer {
    /// The reason as a single word, for logs.
    ///
    /// ```
    /// # use flush_engine::NoAnswer;
    /// // A field to search logs by.
    /// assert_eq!(format!("reason={}", NoAnswer::TimedOut.word()), "reason=timed_out");
    /// ```
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::TimedOut => "timed_out",
            Self::Credentials => "credentials",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
        }
    }
}

/// The messages of a chain of error causes.
///
/// ```
/// use flush_engine::Cause;
/// use std::error::Error;
///
/// let texts = ["cannot connect".to_owned(), "the name is not known".to_owned()];
/// let cause = Cause::chain(texts).ok_or("no texts")?;
/// assert_eq!(cause.to_string(), "cannot connect");
/// assert_eq!(cause.source().ok_or("one text")?.to_string(), "the name is not known");
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    /// Collects the messages, outermost first. `None` if there are none.
    pub fn chain(texts: impl IntoIterator<Item = String>) -> Option<Self> {
        let texts: Vec<_> = texts.into_iter().collect();
        texts.into_iter().rev().fold(None, |source, text| {
            let source = source.map(Box::new);
            Some(Self { text, source })
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_told_from_the_outside_in() {
        let cause = Cause::chain(["outer".to_owned(), "inner".to_owned()]).unwrap();
        assert_eq!(cause.to_string(), "outer");
        assert_eq!(cause.source().unwrap().to_string(), "inner");
        assert!(cause.source().unwrap().source().is_none());
        assert_eq!(Cause::chain([]), None);
    }
}
