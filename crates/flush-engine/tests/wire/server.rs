//! A local service that takes requests over HTTP, checks each one and answers as told.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const SECRET: &str = "secret";
pub(crate) const CBOR: &str = "application/x-amz-cbor-1.1";
pub(crate) const JSON: &str = "application/x-amz-json-1.1";

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_cbor(&self) -> bool {
        self.header("content-type") == CBOR
    }
}

pub(crate) type Answer = (u16, Vec<u8>);
type Service = dyn Fn(usize, &Request) -> Answer + Send + Sync;

pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers the n-th request, counted from 0, with `service`.
    pub(crate) async fn start(
        service: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service: Arc<Service> = Arc::new(service);
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&service)));
                }
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether each request so far was in CBOR.
    pub(crate) fn are_cbor(&self) -> Vec<bool> {
        self.requests().iter().map(Request::is_cbor).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, service: Arc<Service>) {
    let mut buffer = Vec::new();
    while let Some(request) = receive(&mut stream, &mut buffer).await {
        let place = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let (status, body) = service(place, &request);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
        let answer = [head.as_bytes(), &body].concat();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(buffer).unwrap() {
            assert_eq!((request.method, request.path), (Some("POST"), Some("/")));
            let headers = request.headers.iter().map(|header| {
                let value = String::from_utf8(header.value.to_vec()).unwrap();
                (header.name.to_ascii_lowercase(), value)
            });
            let headers: HashMap<_, _> = headers.collect();
            let length: usize = headers["content-length"].parse().unwrap();
            if buffer.len() >= head + length {
                let body = buffer[head..head + length].to_vec();
                buffer.drain(..head + length);
                return Some(Request { headers, body });
            }
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The signature the request should have, computed from the body received.
pub(crate) fn signature(request: &Request) -> String {
    let authorization = request.header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name).unwrap();
        rest.split([',', ' ']).next().unwrap().to_owned()
    };
    let (scope, signed) = (part("Credential="), part("SignedHeaders="));
    let scope: Vec<&str> = scope.split('/').skip(1).collect();
    let mut canonical = "POST\n/\n\n".to_owned();
    for name in signed.split(';') {
        writeln!(canonical, "{name}:{}", request.header(name).trim()).unwrap();
    }
    let body = hex(&Sha256::digest(&request.body));
    write!(canonical, "\n{signed}\n{body}").unwrap();
    let canonical = hex(&Sha256::digest(canonical.as_bytes()));
    let (date, whole_scope) = (request.header("x-amz-date"), scope.join("/"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{whole_scope}\n{canonical}");
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope {
        key = hmac(&key, part.as_bytes());
    }
    hex(&hmac(&key, to_sign.as_bytes()))
}

/// The signature the request has.
pub(crate) fn signed(request: &Request) -> &str {
    let authorization = request.header("authorization");
    authorization.split_once("Signature=").unwrap().1
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = match key.len() {
        ..=64 => key.to_vec(),
        _ => Sha256::digest(key).to_vec(),
    };
    block.resize(64, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha256::digest([padded(0x36), message.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
