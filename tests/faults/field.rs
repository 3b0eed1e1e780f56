//! Hostile environments that a client must survive: names that do not resolve, broken TLS,
//! interfering proxies, wrong clocks, and runtimes and clones that end in any order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplify_kinesis::{CloseOptions, FlushStrategy};
use amplify_test_support::Reply;
use integration_tests::{
    Case, Discards, Endpoint, Kind, Setup, StoreKind, eventually, millis, numbered, page,
    start_with,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

integration_tests::cases! {
    everywhere:
        clones_may_be_dropped_in_any_order_and_anywhere,
        closing_may_race_everything;
    in_memory:
        a_host_that_does_not_resolve_costs_nothing,
        broken_tls_costs_nothing,
        proxies_with_opinions_cost_nothing,
        a_clock_that_is_off_costs_nothing;
    on_disk_and_in_a_journal:
        a_client_outlives_the_runtime_that_it_was_made_in,
        a_runtime_may_end_in_the_middle_of_a_flush;
    in_a_journal:
        clones_may_be_dropped_in_any_order_and_anywhere,
        closing_may_race_everything;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);

/// Three failing passes, then one that succeeds. Nothing is lost and nothing is charged.
async fn costs_nothing(case: Case, trouble: &str, url: String) {
    let aws = Endpoint::start();
    let discards = Discards::default();
    let directory = tempfile::tempdir().unwrap();
    let on_disk = |url: String| {
        let setup = Setup::of_endpoint(case, url).request_timeout(Duration::from_secs(10));
        let setup = setup.storage_path(&directory.path().join("cache"));
        setup.max_retries(0).discards(&discards)
    };
    let client = on_disk(url).build().await;
    client.record_to(STREAM, ["a", "b"]).await;
    for _ in 0..3 {
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{trouble}: {error:?}");
        assert!(!error.message.is_empty() && !error.recovery_suggestion.is_empty());
        assert_eq!(client.cached(), 2, "{trouble}");
    }
    client.close().await.unwrap();
    let client = on_disk(aws.endpoint_url()).build().await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 2);
    assert_eq!(aws.payloads(STREAM), ["a", "b"]);
    assert_eq!(discards.payloads(), [""; 0]);
    client.close().await.unwrap();
}

// ---- on the network

async fn a_host_that_does_not_resolve_costs_nothing(case: Case) {
    // Reserved, so it never resolves.
    costs_nothing(case, "DNS", "http://kinesis.invalid:4566".to_owned()).await;
}

/// Starts a server that treats every connection the same until the test ends.
async fn server<S>(serve: impl Fn(TcpStream) -> S + Clone + Send + 'static) -> SocketAddr
where
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn self_signed() -> TlsAcceptor {
    let certificate = include_bytes!("certificate/self-signed.der");
    let key = include_bytes!("certificate/self-signed.key.der");
    let certificate = CertificateDer::from(&certificate[..]);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(&key[..]));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn broken_tls_costs_nothing(case: Case) {
    let garbage = server(async |mut stream: TcpStream| {
        let _ = stream.write_all(&[0x5a; 4096]).await;
    });
    let cut = server(async |mut stream: TcpStream| {
        let mut hello = [0; 16];
        let _ = stream.read(&mut hello).await;
        drop(stream);
    });
    let plain = server(async |mut stream: TcpStream| {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello).await;
        let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(page).await;
    });
    let handshakes = Arc::new(AtomicBool::new(false));
    let acceptor = self_signed();
    let untrusted = server({
        let completed = Arc::clone(&handshakes);
        move |stream| {
            let (acceptor, completed) = (acceptor.clone(), Arc::clone(&completed));
            async move {
                if acceptor.accept(stream).await.is_ok() {
                    completed.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    for (trouble, address) in [
        ("garbage", garbage.await),
        ("cut off", cut.await),
        ("plain text", plain.await),
        ("a certificate that nobody vouches for", untrusted.await),
    ] {
        let url = format!("https://localhost:{}", address.port());
        costs_nothing(case, trouble, url).await;
    }
    // No request, and so no record or signature, reached a stranger.
    assert!(!handshakes.load(Ordering::SeqCst));
}

async fn proxies_with_opinions_cost_nothing(case: Case) {
    const PAGE: &str = "<html><body>Please log in</body></html>";
    for status in [200, 302, 403, 404, 407, 418, 429, 500, 502, 503, 504, 511] {
        let discards = Discards::default();
        let (aws, client) =
            start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
        client.record_to(STREAM, ["a", "b"]).await;
        aws.always(move |_| page(status, PAGE));
        for _ in 0..3 {
            match client.flush().await {
                Ok(done) => {
                    assert!(status == 429 || status >= 500, "{status}: {done:?}");
                    assert_eq!(done.records_retried + done.records_discarded, 0);
                    assert_eq!(done.skipped_streams.len(), 1);
                }
                Err(error) => {
                    assert!(status != 429 && status < 500, "{status}: {error:?}");
                    assert_eq!(error.kind, Kind::Unknown);
                }
            }
            assert_eq!(client.cached(), 2, "{status}");
        }
        aws.clear_script();
        client.drain(LONG).await.unwrap();
        assert_eq!(aws.payloads(STREAM), ["a", "b"], "{status}");
        assert_eq!(discards.payloads(), [""; 0]);
    }
}

/// The services' error codes for a caller with a wrong clock.
async fn a_clock_that_is_off_costs_nothing(case: Case) {
    for code in [
        "RequestExpired",
        "RequestTimeTooSkewed",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "ExpiredTokenException",
    ] {
        let discards = Discards::default();
        let (aws, client) =
            start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
        client.record_to(STREAM, ["a", "b"]).await;
        aws.always(move |_| Reply::refuse(403, code));
        for _ in 0..5 {
            let done = client.flush().await.unwrap();
            assert_eq!(done.skipped_streams[0].code.as_deref(), Some(code));
            assert_eq!(done.records_retried + done.records_discarded, 0, "{code}");
        }
        aws.clear_script();
        client.drain(LONG).await.unwrap();
        assert_eq!(aws.payloads(STREAM), ["a", "b"], "{code}");
        assert_eq!(discards.payloads(), [""; 0]);
    }
}

// ---- runtimes

fn runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test outside the runtime, where it may create and drop runtimes.
async fn outside(test: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(test).await.unwrap();
}

async fn a_client_outlives_the_runtime_that_it_was_made_in(case: Case) {
    outside(move || {
        let aws = Endpoint::start();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let first = runtime();
        let client = first.block_on(async {
            let client = Setup::new(case, &aws).at(&path).build().await;
            client.record_to(STREAM, ["a"]).await;
            client.flush().await.unwrap();
            client.record_to(STREAM, ["b"]).await;
            client
        });
        drop(first);
        let second = runtime();
        second.block_on(async {
            client.record_to(STREAM, ["c"]).await;
            // A connection of the ended runtime may be tried first.
            eventually("everything is delivered", async || {
                let _ = client.flush().await;
                client.cached() == 0
            })
            .await;
            client.record_to(STREAM, ["d"]).await;
            client.close().await.unwrap();
            let client = Setup::new(case, &aws).at(&path).build_when_free().await;
            assert_eq!(client.cached(), 1);
            client.drain(LONG).await.unwrap();
            client.close().await.unwrap();
        });
        let mut arrived = aws.payloads(STREAM);
        arrived.dedup();
        assert_eq!(arrived, ["a", "b", "c", "d"]);
    })
    .await;
}

async fn a_runtime_may_end_in_the_middle_of_a_flush(case: Case) {
    outside(move || {
        let aws = Endpoint::start();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let recorded = numbered("record", 700);
        let first = runtime();
        first.block_on(async {
            let client = Setup::new(case, &aws).at(&path).build().await;
            client.record_to(STREAM, recorded.clone()).await;
            aws.script(Reply::Accept);
            aws.script(Reply::Hang);
            let draining = client.clone();
            tokio::spawn(async move { draining.drain(LONG).await });
            aws.until(|aws| aws.in_flight() == 1 && aws.request_count() == 2)
                .await;
        });
        // Nobody has closed the client, and its tasks are gone.
        drop(first);
        runtime().block_on(async {
            let client = Setup::new(case, &aws).at(&path).build_when_free().await;
            assert_eq!(client.cached(), 200);
            client.drain(LONG).await.unwrap();
            client.close().await.unwrap();
        });
        assert_eq!(aws.payloads(STREAM), recorded);
    })
    .await;
}

// ---- clones

async fn clones_may_be_dropped_in_any_order_and_anywhere(case: Case) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    for round in 0..6 {
        let setup = Setup::new(case, &aws).flush_every(millis(3));
        // The last round's storage is released shortly after the last clone.
        let client = setup.at(&path).build_when_free().await;
        let mut clones: Vec<_> = (0..5).map(|_| client.clone()).collect();
        clones.rotate_left(round % 5);
        drop(client);
        for (n, clone) in clones.into_iter().enumerate() {
            clone.record(STREAM, format!("{round}-{n}")).await.unwrap();
            match n {
                0 => drop(clone),
                1 => std::thread::spawn(move || drop(clone)).join().unwrap(),
                2 => drop(tokio::spawn(async move { clone.flush().await })),
                3 => drop(tokio::task::spawn_blocking(move || drop(clone))),
                _ => drop(Box::pin(async move {
                    clone.record(STREAM, "never polled").await
                })),
            }
        }
    }
    if case.store != StoreKind::Memory {
        let client = Setup::new(case, &aws).at(&path).build_when_free().await;
        client.drain(LONG).await.unwrap();
        client.close().await.unwrap();
        let mut arrived = aws.payloads(STREAM);
        arrived.sort();
        arrived.dedup();
        let expected = (0..6).flat_map(|round| (0..5).map(move |n| format!("{round}-{n}")));
        assert_eq!(arrived, expected.collect::<Vec<_>>());
    }
}

async fn closing_may_race_everything(case: Case) {
    for round in 0..12_u64 {
        let aws = Endpoint::start();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let setup = || Setup::new(case, &aws).at(&path);
        let client = setup().flush_strategy(FlushStrategy::None).build().await;
        let records = (0..4).map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut stored = Vec::new();
                for n in 0.. {
                    let data = format!("{task}-{n}");
                    match client.record(STREAM, data.clone()).await {
                        Ok(_) => stored.push(data),
                        Err(error) => {
                            assert_eq!(error.kind, Kind::ClientClosed, "{error:?}");
                            break;
                        }
                    }
                    tokio::task::yield_now().await;
                }
                stored
            })
        });
        let records: Vec<_> = records.collect();
        let other = tokio::spawn({
            let client = client.clone();
            async move {
                let mut cleared = 0;
                loop {
                    let ended = match round % 3 {
                        0 => client.flush().await.err(),
                        1 => client.drain(LONG).await.err(),
                        _ => match client.clear_cache().await {
                            Ok(done) => {
                                cleared += done.records_cleared;
                                None
                            }
                            Err(error) => Some(error),
                        },
                    };
                    if let Some(error) = ended {
                        assert_eq!(error.kind, Kind::ClientClosed, "{error:?}");
                        return cleared;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        tokio::time::sleep(millis(round)).await;
        if round % 2 == 0 {
            client.close().await.unwrap();
        } else {
            let options = CloseOptions::default().drain(millis(20));
            client.close_with(options).await.unwrap();
        }
        let mut stored = Vec::new();
        for task in records {
            stored.extend(task.await.unwrap());
        }
        let cleared = other.await.unwrap();
        let delivered = aws.payloads(STREAM);
        let cached = client.cached();
        assert_eq!(stored.len(), delivered.len() + cleared + cached);
        if case.store != StoreKind::Memory {
            let client = setup().build().await;
            assert_eq!(client.cached(), cached);
            client.close().await.unwrap();
        }
    }
}
