//! Sends a batch in the format that suits the endpoint.

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_schema::protocol::SharedClientProtocol;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::answer::Outcome;
use super::bodies::Bodies;
use super::entry::{Entry, Operation, Target};
use super::format::{Choice, Format, WireFormat};
use super::handover::{Handover, Inner};
use super::protocol::Protocol;
use super::{cbor_writer, json_writer};
use crate::SendError;
use crate::aws::send_error;
use crate::telemetry::log;

/// Whether to read sequence numbers and shards from responses.
///
/// ```
/// use flush_engine::aws::ClientOptions;
/// use flush_engine::aws::wire::Receipts;
///
/// // No one asked for them by `on_delivered`.
/// let options = ClientOptions::new(1 << 20);
/// assert_eq!(options.receipts(), Receipts::Skip);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// Skips them.
    Skip,
    /// Gives each accepted record a [`Receipt`](crate::Receipt).
    Read,
}

/// How one client sends its batches, and what it has learned about its endpoint.
///
/// ```
/// use aws_sdk_kinesis::Client;
/// use flush_engine::SendError;
/// use flush_engine::aws::wire::{Entry, Handover, Outcome, Receipts, Target, Wire};
///
/// async fn put(client: &Client, wire: &Wire) -> Result<Vec<Outcome>, SendError> {
///     let entries = [Entry::new(b"an order", Some("customer-7"))];
///     let call = |handover: Handover| {
///         let mut config = aws_sdk_kinesis::config::Config::builder();
///         config.set_protocol(Some(wire.protocol()));
///         let call = client.put_records().stream_name("orders").customize();
///         call.config_override(config).interceptor(handover).send()
///     };
///     wire.send(Target::Name("orders"), entries.into_iter(), Receipts::Skip, call).await
/// }
/// ```
#[derive(Debug)]
pub struct Wire {
    operation: Operation,
    choice: Arc<Choice>,
    protocol: SharedClientProtocol,
    bodies: Bodies,
}

impl Wire {
    /// Sends requests of one operation, in the requested format; the environment can disable CBOR
    /// for `Auto`.
    #[must_use]
    pub fn new(operation: Operation, asked: WireFormat) -> Self {
        let asked = asked.in_environment(|name| std::env::var(name).ok());
        Self {
            operation,
            choice: Arc::new(Choice::new(operation, asked)),
            protocol: SharedClientProtocol::new(Protocol),
            bodies: Bodies::default(),
        }
    }

    /// The protocol for the SDK configuration of the calls.
    #[must_use]
    pub fn protocol(&self) -> SharedClientProtocol {
        self.protocol.clone()
    }

    /// Sends a batch, and returns one outcome for each record, in order.
    ///
    /// `call` calls the operation for `target` without records, with [`protocol`](Self::protocol)
    /// as its protocol and the [`Handover`] as an interceptor. It is called again immediately, with
    /// JSON, if CBOR turns out not to suit the endpoint.
    ///
    /// # Errors
    /// [`SendError`] as for any request, and if a response lacks a result for any record.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may still have accepted the records.
    pub async fn send<'a, O, E, F>(
        &self,
        target: Target<'_>,
        entries: impl Iterator<Item = Entry<'a>> + Clone,
        receipts: Receipts,
        call: impl Fn(Handover) -> F,
    ) -> Result<Vec<Outcome>, SendError>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
    {
        let mut format = self.choice.next();
        let mut is_refused = false;
        loop {
            let handover = self.handover(format, target, entries.clone(), receipts);
            match call(handover.clone()).await {
                Ok(_) => {
                    match format {
                        Format::Cbor => self.choice.understood(),
                        Format::Json if is_refused => self.stay_with_json(),
                        Format::Json => {}
                    }
                    let outcomes = handover.take_outcomes();
                    return outcomes.ok_or_else(|| SendError::no_answer("the answer was not read"));
                }
                Err(error) => {
                    if format == Format::Json {
                        // Without a code, the response may be that of a proxy.
                        if is_refused && code_of(&error).is_some() {
                            self.stay_with_json();
                        }
                        return Err(send_error(&error));
                    }
                    is_refused = !handover.is_misdirected();
                    if is_refused && !(self.choice.may_be_refused() && refuses_cbor(&error)) {
                        return Err(send_error(&error));
                    }
                }
            }
            format = Format::Json;
        }
    }

    fn handover<'a>(
        &self,
        format: Format,
        target: Target<'_>,
        entries: impl Iterator<Item = Entry<'a>> + Clone,
        receipts: Receipts,
    ) -> Handover {
        let records = entries.clone().count();
        let lend = |bytes| self.bodies.lend(bytes);
        let body = match format {
            Format::Cbor => cbor_writer::request(lend, self.operation, target, entries),
            Format::Json => json_writer::request(lend, self.operation, target, entries),
        };
        Handover::new(Inner {
            operation: self.operation,
            choice: Arc::clone(&self.choice),
            format,
            body: self.bodies.share(body),
            records,
            with_receipts: receipts == Receipts::Read,
            is_misdirected: AtomicBool::new(false),
            outcomes: Mutex::new(None),
        })
    }

    /// The endpoint refused CBOR and has understood JSON.
    fn stay_with_json(&self) {
        if self.choice.refused() {
            tracing::warn!(target: log::TARGET, "the endpoint does not accept CBOR: using JSON from now on");
        }
    }
}

/// Whether a response says that the format was not understood.
fn refuses_cbor<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    const UNSUPPORTED_MEDIA_TYPE: u16 = 415;
    const NOT_FOUND: u16 = 404;
    let Some(response) = error.raw_response() else {
        return false;
    };
    match (code_of(error), response.status().as_u16()) {
        (_, UNSUPPORTED_MEDIA_TYPE) | (None, NOT_FOUND) => true,
        (Some(code), _) => ["UnknownOperation", "Serialization"]
            .iter()
            .any(|begin| code.starts_with(begin)),
        (None, _) => false,
    }
}

/// The error code of the service, if there is one.
fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    match error {
        SdkError::ServiceError(context) => context.err().code(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_environment_of_the_process_is_read() {
        const NAME: &str = "aws::wire::send::tests::the_environment_of_the_process_is_read";
        // Set in the process that this test starts.
        const EXPECTED: &str = "AMPLIFY_TEST_FORMAT";
        if let Ok(expected) = std::env::var(EXPECTED) {
            let wire = Wire::new(Operation::PutRecords, WireFormat::Auto);
            assert_eq!(format!("{:?}", wire.choice.next()), expected);
            return;
        }
        for (set, expected) in [
            (None, "Cbor"),
            (Some(("AWS_CBOR_DISABLE", "true")), "Json"),
            (Some(("CBOR_ENABLED", "false")), "Json"),
        ] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env_remove("AWS_CBOR_DISABLE");
            command.env_remove("CBOR_ENABLED");
            command.envs(set).env(EXPECTED, expected);
            let output = command.args([NAME, "--exact"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{set:?}: {said}");
        }
    }
}
