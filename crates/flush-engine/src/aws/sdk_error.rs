//! SDK errors in the engine's words.

use std::error::Error;
use std::fmt::Write as _;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::SendError;

/// Maps what the SDK reports for a whole request: by the error code of the service or,
/// without one, by the HTTP status; see [`judge`](crate::judge).
pub fn send_error<E>(error: &SdkError<E, HttpResponse>) -> SendError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().filter(|code| !code.is_empty());
            let message = match (context.err().message(), code) {
                (Some(message), _) => message.to_owned(),
                (None, Some(code)) => code.to_owned(),
                (None, None) => format!("HTTP status {status} without an error code"),
            };
            SendError::refused(code, status, message)
        }
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            SendError::refused(
                None,
                status,
                format!("HTTP status {status}: {}", chain(error)),
            )
        }
        SdkError::TimeoutError(_) => SendError::timed_out(chain(error)),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            SendError::timed_out(chain(error))
        }
        _ => SendError::no_answer(chain(error)),
    }
}

/// An error with all its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
