//! Answers that are slow, endless or hostile, connections that died unnoticed, and refused
//! credentials. A client retries within its limits and repeats nothing harmful.

use std::future::ready;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use amplify_kinesis::NoAnswer;
use amplify_test_support::{Refusal, Reply};
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use integration_tests::{
    Case, Client, Discards, Endpoint, Failure, Kind, SdkClient, Service, Setup, millis, start,
    start_with,
};
use tokio::sync::watch;

use super::clients::{Counting, loaded};

integration_tests::cases! {
    in_memory:
        an_answer_that_pauses_is_waited_for,
        an_error_that_trickles_ends_with_the_request_timeout,
        an_endless_body_is_no_answer,
        endless_headers_are_no_answer,
        after_a_time_out_the_next_request_takes_a_fresh_connection,
        refused_credentials_are_asked_for_again,
        refused_credentials_are_asked_for_again_whoever_caches_them,
        other_refusals_leave_the_credentials_alone,
        a_code_that_is_none_is_unreadable,
        the_words_of_the_service_are_escaped_and_cut,
        an_unknown_error_says_why_there_was_no_answer;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(60);

// ---- a server that answers byte by byte

/// A server that answers each request with scripted bytes, and counts requests and bytes.
struct RawServer {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
    written: Arc<AtomicU64>,
}

/// The server's side of an answer. Writing returns `false` once the client has hung up.
struct Answer<'a> {
    stream: &'a mut TcpStream,
    written: &'a AtomicU64,
}

impl Answer<'_> {
    fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let is_there = self.stream.write_all(bytes).is_ok();
        if is_there {
            let bytes = u64::try_from(bytes.len()).unwrap();
            self.written.fetch_add(bytes, Ordering::Relaxed);
        }
        is_there
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause is what is tested, on a thread of the server's own"
)]
fn pause(time: Duration) {
    thread::sleep(time);
}

impl RawServer {
    fn start(answer: impl Fn(&mut Answer<'_>) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (requests, written) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let (seen, count) = (Arc::clone(&requests), Arc::clone(&written));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen, count) = (answer.clone(), Arc::clone(&seen), Arc::clone(&count));
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    while read_request(&mut stream) {
                        seen.fetch_add(1, Ordering::Relaxed);
                        answer(&mut Answer {
                            stream: &mut stream,
                            written: &count,
                        });
                    }
                });
            }
        });
        Self {
            addr,
            requests,
            written,
        }
    }

    fn setup(&self, case: Case) -> Setup {
        Setup::of_endpoint(case, format!("http://{}", self.addr))
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Reads one request with a content length. Returns `false` if the client is done.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return false;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
    stream.read_exact(&mut body).is_ok()
}

/// The answer to a request with one record, which was accepted.
fn accepted(service: Service) -> &'static str {
    match service {
        Service::Kinesis => {
            r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-0"}]}"#
        }
        Service::Firehose => r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"}]}"#,
    }
}

fn head(status: &str, length: impl std::fmt::Display) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// A flush that ends, with success or an error.
async fn flush(client: &Client) -> Result<amplify_kinesis::FlushData, Failure> {
    let flush = tokio::time::timeout(LONG, client.flush());
    flush.await.unwrap()
}

async fn assert_no_answer(client: &Client, reason: NoAnswer) {
    let error = flush(client).await.unwrap_err();
    assert_eq!(
        (error.kind, error.reason),
        (Kind::Unknown, Some(reason)),
        "{error:?}"
    );
}

// ---- bounds

async fn an_answer_that_pauses_is_waited_for(case: Case) {
    let body = accepted(case.service);
    let server = RawServer::start(move |answer| {
        answer.write(head("200 OK", body.len()));
        answer.write(&body[..10]);
        pause(Duration::from_secs(8));
        answer.write(&body[10..]);
    });
    let client = server.setup(case).request_timeout(LONG).build().await;
    client.record_to(STREAM, ["1"]).await;
    assert_eq!(flush(&client).await.unwrap().records_flushed, 1);
    assert_eq!(server.requests(), 1);
}

async fn an_error_that_trickles_ends_with_the_request_timeout(case: Case) {
    let server = RawServer::start(|answer| {
        answer.write(head("400 Bad Request", 1_000_000));
        while answer.write(" ") {
            pause(millis(20));
        }
    });
    let timeout = millis(500);
    let setup = server.setup(case).default_attempts();
    let client = setup.request_timeout(timeout).build().await;
    client.record_to(STREAM, ["1"]).await;
    assert_no_answer(&client, NoAnswer::TimedOut).await;
    assert_eq!(client.cached(), 1);
}

async fn an_endless_body_is_no_answer(case: Case) {
    const MIB: u64 = 1024 * 1024;
    for status in ["200 OK", "400 Bad Request", "503 Unavailable"] {
        let server = RawServer::start(move |answer| {
            let blank = vec![b' '; 1024 * 1024];
            answer.write(head(status, 96 * MIB));
            for _ in 0..96 {
                if !answer.write(&blank) {
                    return;
                }
            }
        });
        let client = server.setup(case).request_timeout(LONG).build().await;
        client.record_to(STREAM, ["1"]).await;
        match flush(&client).await {
            Ok(done) => assert_eq!((status, done.skipped_streams.len()), ("503 Unavailable", 1)),
            Err(error) => assert_eq!(error.reason, Some(NoAnswer::Unreadable), "{error:?}"),
        }
        assert_eq!(client.cached(), 1);
        // The sockets' buffers hold the unread bytes.
        assert!(
            server.written() < 48 * MIB,
            "{status}: {}",
            server.written()
        );
    }
}

async fn endless_headers_are_no_answer(case: Case) {
    const MIB: u64 = 1024 * 1024;
    let body = accepted(case.service);
    // The start of a valid answer, the repeated part, the repetitions, and the end.
    let header = |at: u32| format!("x-header-{at}: {}\r\n", "v".repeat(100));
    let long = |_| "v".repeat(1000);
    let no_more = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunk = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n",
        body.len()
    );
    type Part = fn(u32) -> String;
    let (header, long): (Part, Part) = (header, long);
    let status = "HTTP/1.1 200 OK\r\n";
    let end = format!("\r\n{no_more}");
    for (what, before, part, times, then) in [
        (
            "a few headers",
            status.to_owned(),
            header,
            60,
            no_more.clone(),
        ),
        (
            "headers",
            status.to_owned(),
            header,
            500_000,
            no_more.clone(),
        ),
        (
            "a header",
            format!("{status}x-header: "),
            long,
            60_000,
            end.clone(),
        ),
        (
            "a status line",
            "HTTP/1.1 200 ".to_owned(),
            long,
            60_000,
            end,
        ),
        (
            "trailers",
            format!("{status}{chunk}"),
            header,
            500_000,
            "\r\n".to_owned(),
        ),
    ] {
        let server = RawServer::start(move |answer| {
            answer.write(&before);
            for at in 0..times {
                if !answer.write(part(at)) {
                    return;
                }
            }
            answer.write(&then);
        });
        let client = server.setup(case).request_timeout(LONG).build().await;
        client.record_to(STREAM, ["1"]).await;
        let done = flush(&client).await;
        assert!(server.written() < 32 * MIB, "{what}: {}", server.written());
        if what == "a few headers" {
            // Otherwise the answer is valid.
            assert_eq!(done.unwrap().records_flushed, 1, "{what}");
            continue;
        }
        let error = done.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{what}: {error:?}");
        assert_eq!(client.cached(), 1, "{what}");
    }
}

// ---- connections

/// A path to an endpoint that can forget its connections, as a NAT does. Nothing passes through
/// them any more, and neither side is notified.
struct ForgetfulWay {
    addr: SocketAddr,
    forgotten: watch::Sender<usize>,
}

impl ForgetfulWay {
    async fn to(aws: &Endpoint) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (forgotten, watched) = watch::channel(0);
        let to = aws.addr();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watched = watched.clone();
                watched.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        Ok(()) = watched.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { addr, forgotten }
    }

    fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

async fn after_a_time_out_the_next_request_takes_a_fresh_connection(case: Case) {
    const STREAMS: [&str; 4] = ["a", "b", "c", "d"];
    let aws = Endpoint::start();
    let way = ForgetfulWay::to(&aws).await;
    let client = Setup::of_endpoint(case, format!("http://{}", way.addr))
        .request_timeout(Duration::from_secs(3))
        .build()
        .await;
    aws.set_latency(millis(300));
    client
        .record_all(STREAMS.map(|stream| (stream, "1")))
        .await
        .unwrap();
    assert_eq!(flush(&client).await.unwrap().records_flushed, 4);
    assert_eq!(aws.connection_count(), 4, "one for each stream");

    way.forget();
    client.record_to(STREAM, ["2"]).await;
    assert_no_answer(&client, NoAnswer::TimedOut).await;
    assert_eq!(flush(&client).await.unwrap().records_flushed, 1);
    assert_eq!(aws.connection_count(), 5);
}

// ---- credentials

const REFUSED_CREDENTIALS: [&str; 4] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
];

async fn refused_credentials_are_asked_for_again(case: Case) {
    for code in REFUSED_CREDENTIALS {
        let aws = Endpoint::start();
        let provider = Counting::default();
        let setup = Setup::new(case, &aws).credentials(provider.clone());
        let client = setup.build().await;
        assert_asked_again(&client, &aws, &provider, code).await;
    }
}

async fn refused_credentials_are_asked_for_again_whoever_caches_them(case: Case) {
    let aws = Endpoint::start();
    let provider = Counting::default();
    let config = loaded(&aws, provider.clone()).await;
    let sdk_client = SdkClient::new(case.service, &config);
    for setup in [
        Setup::bare(case.service).sdk_config(config),
        Setup::bare(case.service).sdk_client(sdk_client),
    ] {
        let client = setup.in_memory().build().await;
        assert_asked_again(&client, &aws, &provider, "ExpiredTokenException").await;
    }
}

async fn assert_asked_again(client: &Client, aws: &Endpoint, provider: &Counting, code: &str) {
    client.record_to(STREAM, ["1"]).await;
    assert_eq!(flush(client).await.unwrap().records_flushed, 1);
    let asked = provider.count();
    client.record_to(STREAM, ["2"]).await;
    aws.script(Reply::refuse(400, code));
    let done = flush(client).await.unwrap();
    assert_eq!(done.skipped_streams.len(), 1, "{code}");
    assert_eq!(provider.count(), asked, "{code}: cached until then");
    assert_eq!(flush(client).await.unwrap().records_flushed, 1);
    assert_eq!(provider.count(), asked + 1, "{code}");
    client.record_to(STREAM, ["3"]).await;
    assert_eq!(flush(client).await.unwrap().records_flushed, 1);
    assert_eq!(provider.count(), asked + 1, "{code}: cached again");
}

async fn other_refusals_leave_the_credentials_alone(case: Case) {
    let aws = Endpoint::start();
    let provider = Counting::default();
    let setup = Setup::new(case, &aws).credentials(provider.clone());
    let client = setup.build().await;
    client.record_to(STREAM, ["1"]).await;
    for code in ["AccessDeniedException", "ServiceUnavailableException"] {
        aws.script(Reply::refuse(400, code));
        assert_eq!(flush(&client).await.unwrap().skipped_streams.len(), 1);
    }
    assert_eq!(flush(&client).await.unwrap().records_flushed, 1);
    assert_eq!(provider.count(), 1);
}

// ---- codes and messages

async fn a_code_that_is_none_is_unreadable(case: Case) {
    let huge = "E".repeat(1024 * 1024);
    let (longest, longer) = ("L".repeat(128), "L".repeat(129));
    for (code, shown) in [
        ("", "Unreadable"),
        ("Throttled!", "Unreadable"),
        ("\u{1b}[31mInternalFailure", "Unreadable"),
        ("Internal\nFailure", "Unreadable"),
        (&huge, "Unreadable"),
        (&longer, "Unreadable"),
        (&longest, &longest),
        ("a.b_c:d#e-F9", "a.b_c:d#e-F9"),
    ] {
        let discards = Discards::default();
        let (aws, client) =
            start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
        client.record_to(STREAM, ["1"]).await;
        aws.script(Reply::fail_all(code));
        assert_eq!(flush(&client).await.unwrap().records_discarded, 1);
        assert_eq!(discards.all()[0].code.as_deref(), Some(shown));
    }
    // The SDK takes the text before a colon or behind a hash.
    for code in ["Oops!", "\u{1b}[2J", &longer] {
        let (aws, client) = start(case).await;
        client.record_to(STREAM, ["1"]).await;
        aws.script(Reply::refuse(400, code));
        let skipped = flush(&client).await.unwrap().skipped_streams;
        assert_eq!(skipped[0].code.as_deref(), Some("Unreadable"), "{code:?}");
    }
}

async fn the_words_of_the_service_are_escaped_and_cut(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1"]).await;
    let told = async |message: &str| {
        let refusal = Refusal::new(400, "AccessDeniedException").message(message);
        aws.script(refusal.into());
        let skipped = flush(&client).await.unwrap().skipped_streams;
        skipped[0].message.clone()
    };
    assert_eq!(told("it's \"no\", é").await, "it's \"no\", é");
    assert_eq!(told("a\u{1b}[31mb\r\nc").await, r"a\u{1b}[31mb\r\nc");
    assert_eq!(told("left\u{202e}right").await, r"left\u{202e}right");
    for long in [
        "m".repeat(1024 * 1024),
        "é".repeat(2000),
        "\u{1b}".repeat(999),
    ] {
        let told = told(&long).await;
        assert!((1000..=1024).contains(&told.len()), "{}", told.len());
    }
}

// ---- causes

async fn an_unknown_error_says_why_there_was_no_answer(case: Case) {
    let aws = Endpoint::start();
    let setup = || Setup::new(case, &aws).request_timeout(Duration::from_secs(2));
    let recorded = async |setup: Setup| {
        let client = setup.build().await;
        client.record_to(STREAM, ["1"]).await;
        client
    };
    let client = recorded(setup()).await;
    for (reply, reason) in [
        (Reply::Hang, NoAnswer::TimedOut),
        (Reply::Reset, NoAnswer::Offline),
        (Reply::Close, NoAnswer::Offline),
        (Reply::Garbage, NoAnswer::Unreadable),
        (Reply::NotHttp, NoAnswer::Unreadable),
        (Reply::WrongCount(3), NoAnswer::Unreadable),
        (Reply::Status(403), NoAnswer::Unreadable),
    ] {
        aws.script(reply.clone());
        let error = flush(&client).await.unwrap_err();
        assert_eq!(error.reason, Some(reason), "{reply:?}: {error:?}");
    }
    aws.stop();
    let error = flush(&client).await.unwrap_err();
    assert_eq!(error.reason, Some(NoAnswer::Offline), "{error:?}");
    assert!(!error.causes.is_empty(), "{error:?}");

    let without = provide_credentials_fn(|| {
        let problem = "no\u{1b}body is logged in";
        ready(Err(CredentialsError::not_loaded(problem)))
    });
    let client = recorded(setup().credentials(without)).await;
    let error = flush(&client).await.unwrap_err();
    assert_eq!(error.reason, Some(NoAnswer::Credentials), "{error:?}");
    let causes = error.causes.join(": ");
    assert!(causes.contains(r"no\u{1b}body is logged in"), "{causes}");
}
