//! The parts of HTTP/1.0 that LocalStack's own API and S3 need.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The scope tells LocalStack the service. LocalStack checks no signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=test/20250101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0";

/// Whether a LocalStack answers at `endpoint`.
pub async fn is_localstack(endpoint: &str) -> bool {
    request(endpoint, "GET", "/_localstack/health", &[], b"")
        .await
        .is_ok()
}

/// Waits until a running LocalStack has its Kinesis back end up. The first request starts it.
///
/// # Errors
/// If Kinesis cannot be started.
pub async fn await_kinesis(endpoint: &str) -> io::Result<()> {
    let headers = [
        ("Authorization", AUTHORIZATION),
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "Kinesis_20131202.ListStreams"),
    ];
    request(endpoint, "POST", "/", &headers, b"{}")
        .await
        .map(drop)
}

/// Sends one request and returns the body of a successful response.
pub(super) async fn request(
    endpoint: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Vec<u8>> {
    let host = endpoint
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other(format!("not an http:// endpoint: {endpoint}")))?
        .trim_end_matches('/');
    let mut head = format!(
        "{method} {target} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");

    let mut connection = TcpStream::connect(host).await?;
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await?;
    successful_body(response)
        .map_err(|problem| io::Error::other(format!("{method} {endpoint}{target}: {problem}")))
}

fn successful_body(mut response: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) =
        head.parse(&response).map_err(|error| error.to_string())?
    else {
        return Err("the connection ended within the response's head".to_owned());
    };
    let status = head.code.unwrap_or_default();
    let announced = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| {
            std::str::from_utf8(header.value)
                .ok()?
                .parse::<usize>()
                .ok()
        });
    let body = response.split_off(length);
    if announced.is_some_and(|announced| announced != body.len()) {
        return Err("the connection ended within the response's body".to_owned());
    }
    if !(200..300).contains(&status) {
        return Err(format!(
            "status {status}: {}",
            String::from_utf8_lossy(&body)
        ));
    }
    Ok(body)
}
