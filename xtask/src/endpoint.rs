//! `cargo xtask endpoint`: runs an endpoint to send to without an account.
//!
//! Standard output has only the environment to use; everything else goes to standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdin};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use amplify_test_support::localstack::LocalStack;
use amplify_test_support::{FakeAws, Outcome, Reply, RequestLog};
use anyhow::{Context, Result};
use tokio::sync::mpsc;

use crate::flags::EndpointFlags;
use crate::localstack;
use crate::payloads;
use crate::progress::Progress;

/// How often to report arrivals.
const TELL: Duration = Duration::from_millis(500);

/// Runs an endpoint until it is interrupted.
///
/// # Errors
/// If the port is taken, or LocalStack cannot be started.
///
/// # Cancel safety
/// Stops the endpoint.
pub(crate) async fn run(flags: EndpointFlags) -> Result<()> {
    if flags.localstack {
        return run_localstack(&flags).await;
    }
    let address = (Ipv4Addr::LOCALHOST, flags.port).into();
    let mut builder = FakeAws::builder().latency(Duration::from_millis(flags.latency));
    if !flags.payloads {
        builder = builder.count_only();
    }
    let aws = builder
        .start_on(address)
        .with_context(|| format!("cannot listen on {address}; --port takes another one"))?;
    print_environment(&aws.endpoint_url());
    eprintln!(
        "every stream exists; type `down`, `up`, `throttle`, `fail`, `refuse` or `accept`; \
         Ctrl-C ends it"
    );
    let mut lines = typed()?;
    let mut told = 0;
    let mut tick = tokio::time::interval(TELL);
    loop {
        tokio::select! {
            Some(line) = lines.recv() => obey(&aws, line.trim())?,
            _ = tick.tick() => {
                tell(&aws, &mut told);
                show(&aws);
            }
        }
    }
}

/// Typed lines. A separate thread reads them and ends with the process; the runtime would wait for
/// a task that waits for a line.
fn typed() -> Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(1);
    thread::Builder::new().spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

async fn run_localstack(flags: &EndpointFlags) -> Result<()> {
    let stack = LocalStack::reserve(&localstack::prepare(&flags.engine).await?)?;
    let progress = Progress::start("starting LocalStack");
    let running = stack.start().await?;
    progress.done();
    print_environment(running.endpoint());
    eprintln!(
        "create a stream first: `aws kinesis create-stream --stream-name my-stream`; Ctrl-C ends it"
    );
    std::future::pending().await
}

fn print_environment(url: &str) {
    println!("export AWS_ENDPOINT_URL={url}");
    println!("export AWS_REGION=us-east-1");
    println!("export AWS_ACCESS_KEY_ID=example");
    println!("export AWS_SECRET_ACCESS_KEY=example");
}

/// Executes a typed command.
fn obey(aws: &FakeAws, word: &str) -> Result<()> {
    match word {
        "down" => aws.stop(),
        "up" => aws.restart()?,
        "throttle" => aws.always(|_| Reply::Throttle),
        "fail" => aws.always(|_| Reply::fail_all("InternalFailure")),
        "refuse" => aws.always(|_| Reply::refuse(400, "AccessDeniedException")),
        "accept" => aws.clear_script(),
        "" => return Ok(()),
        _ => {
            eprintln!("`{word}` is none of down, up, throttle, fail, refuse, accept");
            return Ok(());
        }
    }
    if !stdin().is_terminal() {
        eprintln!("{word}");
    }
    Ok(())
}

/// Reports the requests that ended since the last call, one line per stream and outcome.
fn tell(aws: &FakeAws, told: &mut usize) {
    let mut ended: BTreeMap<(String, String, String), (usize, usize)> = BTreeMap::new();
    while let Some(request) = aws.request(*told)
        && request.outcome != Outcome::Pending
    {
        *told += 1;
        let what = outcome(&request);
        let service = format!("{:?}", request.service).to_lowercase();
        let (requests, records) = ended.entry((service, request.stream, what)).or_default();
        *requests += 1;
        *records += request.accepted;
    }
    for ((service, stream, what), (requests, records)) in ended {
        let (requests, records) = (counted(requests, "request"), counted(records, "record"));
        eprintln!("{service} {stream}: {requests}, {records} taken in, {what}");
    }
}

/// Prints the records that arrived since the last call, and drops them.
fn show(aws: &FakeAws) {
    for (stream, records) in aws.take_delivered() {
        for line in records
            .iter()
            .flat_map(|record| payloads::lines(&stream, record))
        {
            eprintln!("{line}");
        }
    }
}

/// `1 record`, `2 records`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn outcome(request: &RequestLog) -> String {
    match &request.outcome {
        Outcome::Answered { status, code } => {
            let code = code.as_deref().unwrap_or_default();
            format!("{status} {code}").trim_end().to_owned()
        }
        other => format!("{other:?}").to_lowercase(),
    }
}
