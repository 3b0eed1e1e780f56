//! An error of either client.

use std::error::Error;
use std::fmt;

use amplify_firehose::AmplifyFirehoseError;
use amplify_kinesis::{AmplifyKinesisError, FlushData, NoAnswer};

/// The five kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Validation,
    LimitExceeded,
    Storage,
    ClientClosed,
    Unknown,
}

/// An error of either client, with everything it says.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub recovery_suggestion: String,
    pub flush_data: Option<FlushData>,
    pub reason: Option<NoAnswer>,
    /// The messages of its sources, outermost first.
    pub causes: Vec<String>,
    /// `Debug` of the client's own error.
    pub debug: String,
}

impl Failure {
    /// What the pass had done before it was aborted.
    pub fn flushed(&self) -> &FlushData {
        let data = self.flush_data.as_ref();
        data.unwrap_or_else(|| panic!("an aborted pass tells what it did: {self:?}"))
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.map(ToString::to_string).collect()
}

macro_rules! from {
    ($error:ident) => {
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let kind = match &error {
                    $error::Validation { .. } => Kind::Validation,
                    $error::LimitExceeded { .. } => Kind::LimitExceeded,
                    $error::Storage { .. } => Kind::Storage,
                    $error::ClientClosed => Kind::ClientClosed,
                    $error::Unknown { .. } => Kind::Unknown,
                };
                // Every error must say what happened and what to do.
                assert!(!error.message().is_empty(), "{error:?}");
                assert!(!error.recovery_suggestion().is_empty(), "{error:?}");
                assert!(!error.to_string().is_empty(), "{error:?}");
                Self {
                    kind,
                    message: error.message().to_owned(),
                    recovery_suggestion: error.recovery_suggestion().to_owned(),
                    flush_data: error.flush_data().cloned(),
                    reason: error.reason(),
                    causes: causes(&error),
                    debug: format!("{error:?}"),
                }
            }
        }
    };
}
from!(AmplifyKinesisError);
from!(AmplifyFirehoseError);

/// Checks that a call failed with this kind of error.
pub fn assert_fails<T: fmt::Debug>(result: Result<T, Failure>, kind: Kind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error:?}");
}
