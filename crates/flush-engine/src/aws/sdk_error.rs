//! Translates the SDK's errors into the engine's terms.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{DispatchFailure, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::ErrorKind;

use crate::aws::wire::Outcome;
use crate::aws::{judge, text};
use crate::{Cause, NoAnswer, Receipt, SendError};

/// The outcome of one record, from its entry in the response.
///
/// A code that does not look like one becomes `Unreadable`.
///
/// The entries decide, not the failure count next to them: some endpoints miscount.
///
/// ```
/// use flush_engine::aws::outcome;
/// use flush_engine::aws::wire::Outcome;
///
/// let accepted = outcome(None, Some("4953".to_owned()), None)?;
/// assert!(matches!(accepted, Outcome::Accepted(Some(receipt)) if receipt.id == "4953"));
/// let rejected = outcome(Some("InternalFailure".to_owned()), None, None)?;
/// assert!(matches!(rejected, Outcome::Failed { .. }));
/// assert!(outcome(None, None, None).is_err());
/// # Ok::<(), flush_engine::SendError>(())
/// ```
///
/// # Errors
/// [`SendError::NoAnswer`] if the entry has neither an error code nor a record id.
pub fn outcome(
    error_code: Option<String>,
    id: Option<String>,
    shard_id: Option<String>,
) -> Result<Outcome, SendError> {
    match (error_code, id) {
        (Some(code), _) => Ok(Outcome::Failed {
            code: text::code(&code),
        }),
        (None, Some(id)) => Ok(Outcome::Accepted(Some(Receipt::new(id, shard_id)))),
        (None, None) => Err(SendError::unreadable(
            "the service gave neither an id nor an error code for a record",
        )),
    }
}

/// The outcome of a whole request, from the service's error code or, without one, from the HTTP
/// status; see [`judge`]. The service's message is escaped and truncated.
///
/// ```
/// use aws_sdk_kinesis::Client;
/// use flush_engine::SendError;
/// use flush_engine::aws::send_error;
///
/// async fn shards(client: &Client) -> Result<usize, SendError> {
///     let answer = client.list_shards().stream_name("orders").send().await;
///     let answer = answer.map_err(|error| send_error(&error))?;
///     Ok(answer.shards().len())
/// }
/// ```
pub fn send_error<E>(error: &SdkError<E, HttpResponse>) -> SendError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().filter(|code| !code.is_empty());
            let fault = judge(code, status);
            let code = code.map(text::code);
            let message = match (context.err().message(), &code) {
                (Some(message), _) => text::message(message),
                (None, Some(code)) => code.clone(),
                (None, None) => format!("HTTP status {status} without an error code"),
            };
            SendError::refused(fault, code, message)
        }
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            let message = format!("the answer cannot be read: HTTP status {status}");
            match judge(None, status) {
                crate::Fault::Unreadable => lost(NoAnswer::Unreadable, &message, error),
                fault => SendError::refused(fault, None, message),
            }
        }
        SdkError::TimeoutError(_) => lost(NoAnswer::TimedOut, "no answer in time", error),
        SdkError::DispatchFailure(failure) => dispatch_error(failure, error),
        _ => lost(NoAnswer::Other, "the request could not be made", error),
    }
}

fn dispatch_error(failure: &DispatchFailure, error: &(dyn Error + 'static)) -> SendError {
    let broke = failure.as_other() == Some(ErrorKind::TransientError);
    let (reason, message) = if failure.is_timeout() {
        (NoAnswer::TimedOut, "no answer in time")
    } else if chain(error).any(|cause| cause.is::<CredentialsError>()) {
        (NoAnswer::Credentials, "there are no credentials")
    } else if failure.is_io() {
        (NoAnswer::Offline, "the service cannot be reached")
    } else if broke {
        (NoAnswer::Offline, "the connection broke")
    } else if failure.is_user() {
        (NoAnswer::Other, "the request could not be made")
    } else {
        (NoAnswer::Unreadable, "the answer cannot be read")
    };
    lost(reason, message, error)
}

fn lost(reason: NoAnswer, message: &str, error: &(dyn Error + 'static)) -> SendError {
    let cause = Cause::chain(chain(error).map(|error| text::message(&error.to_string())));
    SendError::lost(reason, message, cause)
}

/// An error followed by all its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
