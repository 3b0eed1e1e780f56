//! A protocol that the user's SDK configuration brings is used, in place of our own writer and
//! reader.

use std::sync::mpsc;

use amplify_firehose::AmplifyFirehoseClientOptions;
use amplify_test_support::Reply;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_runtime_api::http::{Request, Response};
use aws_smithy_schema::protocol::ClientProtocolInner;
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::endpoint::Endpoint as Resolved;
use aws_smithy_types::error::metadata::Builder as ErrorMetadataBuilder;
use integration_tests::{Case, Endpoint, SdkClient, Service, Setup, cases, one_attempt, page};

use super::clients::firehose;

cases! {
    in_memory:
        a_protocol_of_the_user_writes_every_request,
        without_one_no_request_has_its_mark,
        answers_are_read_by_us_only_without_one,
        refusals_are_understood_through_a_protocol_of_the_user;
}

const STREAM: &str = "stream";
/// What [`Marking`] writes for [`STREAM`].
const MARKED: &str = "marked";

/// The SDK's AWS JSON, except that it marks requests: it sends them to another stream.
#[derive(Debug)]
struct Marking(AwsJsonRpcProtocol);

impl Marking {
    fn new() -> Self {
        Self(AwsJsonRpcProtocol::aws_json_1_1())
    }
}

impl ClientProtocolInner for Marking {
    type Request = Request;
    type Response = Response;

    fn protocol_id(&self) -> &ShapeId<'static> {
        ClientProtocolInner::protocol_id(&self.0)
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        schema: &Schema<'_>,
        endpoint: &str,
        config: &ConfigBag,
    ) -> Result<Request, SerdeError> {
        let json = &self.0;
        let mut request =
            ClientProtocolInner::serialize_request(json, input, schema, endpoint, config)?;
        let body = str::from_utf8(request.body().bytes().unwrap()).unwrap();
        // As long as before, so the length in the header stays right.
        let marked = body.replace(&format!("\"{STREAM}\""), &format!("\"{MARKED}\""));
        *request.body_mut() = SdkBody::from(marked);
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        schema: &Schema<'_>,
        config: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        ClientProtocolInner::deserialize_response(&self.0, response, schema, config)
    }

    fn parse_error_metadata(
        &self,
        response: &Response,
        config: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        ClientProtocolInner::parse_error_metadata(&self.0, response, config)
    }

    fn update_endpoint(
        &self,
        request: &mut Request,
        endpoint: &Resolved,
        config: &ConfigBag,
    ) -> Result<(), SerdeError> {
        ClientProtocolInner::update_endpoint(&self.0, request, endpoint, config)
    }
}

fn marking() -> SdkConfig {
    let config = one_attempt().into_builder();
    config.protocol(Marking::new()).build()
}

/// Both ways to give a client this configuration: itself, and an SDK client that has it.
fn ways(case: Case, aws: &Endpoint, config: SdkConfig) -> [Setup; 2] {
    let config = config.into_builder();
    let config = config.behavior_version(BehaviorVersion::latest()).build();
    let sdk_client = SdkClient::new(case.service, &config);
    [
        Setup::new(case, aws).sdk_config(config),
        Setup::new(case, aws).sdk_client(sdk_client),
    ]
}

/// Flushes three records, of which the second fails and is sent again, and returns the streams of
/// the requests and the payloads that arrived for this stream.
async fn send_three(setup: Setup, aws: &Endpoint, stream: &str) -> (Vec<String>, Vec<String>) {
    let requests = aws.request_count();
    let arrived = aws.delivered_count();
    let client = setup.build().await;
    client.record_to(STREAM, ["1", "2", "3"]).await;
    aws.script(Reply::fail_at([1], "InternalFailure"));
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (2, 1));
    assert_eq!(client.cached(), 1);
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (1, 0));
    assert_eq!(client.cached(), 0);
    let streams = aws.streams_in_order().split_off(requests);
    (streams, aws.payloads(stream).split_off(arrived))
}

async fn a_protocol_of_the_user_writes_every_request(case: Case) {
    let aws = Endpoint::start();
    for setup in ways(case, &aws, marking()) {
        let (streams, arrived) = send_three(setup, &aws, MARKED).await;
        assert_eq!(streams, [MARKED, MARKED]);
        assert_eq!(arrived, ["1", "3", "2"]);
    }
}

async fn without_one_no_request_has_its_mark(case: Case) {
    let aws = Endpoint::start();
    for setup in ways(case, &aws, one_attempt()) {
        let (streams, arrived) = send_three(setup, &aws, STREAM).await;
        assert_eq!(streams, [STREAM, STREAM]);
        assert_eq!(arrived, ["1", "3", "2"]);
    }
}

/// The id of the record is not text, which our reader does not look at, but the SDK's does.
async fn answers_are_read_by_us_only_without_one(case: Case) {
    let answer = match case.service {
        Service::Kinesis => r#"{"Records":[{"SequenceNumber":7,"ShardId":"s"}]}"#,
        Service::Firehose => r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":7}]}"#,
    };
    for (config, is_ours) in [(one_attempt(), true), (marking(), false)] {
        let aws = Endpoint::start();
        for setup in ways(case, &aws, config) {
            let client = setup.build().await;
            client.record_to(STREAM, ["1"]).await;
            aws.script(page(200, answer));
            let flushed = client.flush().await;
            assert_eq!(flushed.is_ok(), is_ours, "{flushed:?}");
            assert_eq!(client.cached() == 0, is_ours);
        }
    }
}

async fn refusals_are_understood_through_a_protocol_of_the_user(case: Case) {
    let aws = Endpoint::start();
    for setup in ways(case, &aws, marking()) {
        let client = setup.build().await;
        client.record_to(STREAM, ["1"]).await;
        aws.script(Reply::refuse(400, "ResourceNotFoundException"));
        let done = client.flush().await.unwrap();
        assert_eq!(done.skipped_streams[0].stream_name, STREAM);
        assert_eq!(client.cached(), 1);
        assert_eq!(client.flush().await.unwrap().records_flushed, 1);
        assert!(aws.streams_in_order().iter().all(|stream| stream == MARKED));
    }
}

#[tokio::test]
async fn firehose_still_says_what_it_calls_a_record() {
    let aws = Endpoint::start();
    let (tell, told) = mpsc::channel();
    let options = AmplifyFirehoseClientOptions::default()
        .on_delivered(move |record| tell.send(record).unwrap());
    let client = firehose(&aws, options).sdk_config(&marking());
    let client = client.build().await.unwrap();
    client.record("1", STREAM).await.unwrap();
    client.record("2", STREAM).await.unwrap();
    aws.script(Reply::fail_at([0], "ServiceUnavailableException"));
    client.flush().await.unwrap();
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].stream_name, STREAM);
    assert_eq!(told[0].record_id.len(), 56);
    assert_eq!(aws.payloads(MARKED), ["2"]);
}
