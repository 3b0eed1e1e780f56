//! The protocol of calls that carry a [`Handover`].

use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::http::{Request, Response};
use aws_smithy_schema::protocol::{ClientProtocolInner, ServiceShapeName, apply_http_endpoint};
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId, shape_id};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::{Builder as ErrorMetadataBuilder, ErrorMetadata};

use super::answer::{Refusal, bare_code};
use super::handover::Handover;
use super::nothing::Nothing;

static ID: ShapeId<'static> = shape_id!("amplify", "handover");

/// Sends the body of the call's [`Handover`], in its format, and hands it the response.
#[derive(Debug)]
pub(super) struct Protocol;

fn handover(config: &ConfigBag) -> Result<&Handover, SerdeError> {
    config
        .load::<Handover>()
        .ok_or_else(|| SerdeError::custom("the call carries no body"))
}

impl ClientProtocolInner for Protocol {
    type Request = Request;
    type Response = Response;

    fn protocol_id(&self) -> &ShapeId<'static> {
        &ID
    }

    fn serialize_request(
        &self,
        _input: &dyn SerializableStruct,
        _input_schema: &Schema<'_>,
        _endpoint: &str,
        config: &ConfigBag,
    ) -> Result<Request, SerdeError> {
        let handover = handover(config)?;
        let service = config.load::<ServiceShapeName>();
        let operation = config.load::<Metadata>();
        let (Some(service), Some(operation)) = (service, operation) else {
            return Err(SerdeError::custom("the operation has no name"));
        };
        let body = handover.body();
        let length = body.len().to_string();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method("POST").map_err(invalid)?;
        request.set_uri("/").map_err(invalid)?;
        let headers = request.headers_mut();
        headers.insert("content-type", handover.format().content_type());
        // The signature covers this header, and nothing else sets it.
        headers.insert("content-length", length);
        let target = format!("{}.{}", service.as_str(), operation.name());
        headers
            .try_insert("x-amz-target", target)
            .map_err(invalid)?;
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        _output_schema: &Schema<'_>,
        config: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let answer = response.body().bytes().unwrap_or_default();
        handover(config)?.read(answer).map_err(invalid)?;
        Ok(Box::new(Nothing))
    }

    fn parse_error_metadata(
        &self,
        response: &Response,
        _config: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        let refusal = Refusal::read(response.body().bytes().unwrap_or_default());
        let in_header = response.headers().get("x-amzn-errortype");
        let code = in_header.and_then(bare_code).or(refusal.code);
        let mut metadata = ErrorMetadata::builder();
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        if let Some(message) = refusal.message {
            metadata = metadata.message(message);
        }
        Ok(metadata)
    }

    // Nothing more to read: the error's metadata already has its code and message.
    fn deserialize_error_response<'a>(
        &self,
        _response: &'a Response,
        _config: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        Ok(Box::new(Nothing))
    }

    fn update_endpoint(
        &self,
        request: &mut Request,
        endpoint: &Endpoint,
        config: &ConfigBag,
    ) -> Result<(), SerdeError> {
        if !handover(config)?.suits(endpoint.url()) {
            return Err(SerdeError::custom("the format does not suit the endpoint"));
        }
        apply_http_endpoint(request, endpoint, config)
    }
}

fn invalid(error: impl std::error::Error) -> SerdeError {
    SerdeError::custom(error.to_string())
}
