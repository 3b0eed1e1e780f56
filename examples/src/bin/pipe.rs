//! Sends lines of standard input, or of a growing file, to a Kinesis stream.
//!
//! ```console
//! $ journalctl --follow --output json | pipe --stream logs
//! $ pipe --stream logs --follow /var/log/app.log
//! ```
//!
//! Each line is on disk before the next is read, so a slow or broken network delays nothing until
//! the cache is full; then reading waits for room. At the end of the input, or on Ctrl-C or
//! SIGTERM, the program delivers the cache. Lines that cannot be delivered in time stay on disk for
//! the next start, and the exit status says so.

use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, CloseOptions, FlushStrategy, OverflowPolicy,
};
use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

/// Sends lines to a Kinesis stream, durably.
#[derive(Debug, Parser)]
struct Flags {
    /// The stream.
    #[arg(long)]
    stream: String,
    /// Read this file and what is added to it, instead of standard input.
    #[arg(long, value_name = "FILE")]
    follow: Option<PathBuf>,
    /// Where lines are cached [default: below the local data directory].
    #[arg(long, value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
    /// Seconds to spend on delivering the cache at the end.
    #[arg(long, default_value_t = 30)]
    drain_seconds: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    let discarded = Arc::new(AtomicUsize::new(0));
    let client = client(&flags, Arc::clone(&discarded)).await?;
    let waiting_before = client.cache_stats().records;

    let progress = Progress::new(&client, waiting_before, Arc::clone(&discarded));
    let recorded = {
        let reading = read(&flags, &client, &progress);
        tokio::select! {
            outcome = reading => outcome?,
            () = interruption()? => {}
        }
        progress.recorded()
    };

    let last_chance = CloseOptions::default().drain(Duration::from_secs(flags.drain_seconds));
    let ending = client.close_with(last_chance).await;
    progress.clear();

    let left = client.cache_stats().records;
    let discarded = discarded.load(Ordering::Relaxed);
    println!("waited from before  {waiting_before:>10}");
    println!("recorded            {recorded:>10}");
    println!(
        "delivered           {:>10}",
        (waiting_before + recorded).saturating_sub(left + discarded)
    );
    println!("given up            {discarded:>10}");
    println!("left for next time  {left:>10}");
    match ending {
        Ok(done) => {
            for skipped in done.skipped_streams {
                eprintln!("{}: {}", skipped.stream_name, skipped.message);
            }
        }
        Err(error) => eprintln!("{error}; {}", error.recovery_suggestion()),
    }
    // Do not return: the runtime would wait for the thread that reads standard input.
    process::exit(i32::from(left + discarded > 0));
}

async fn client(flags: &Flags, discarded: Arc<AtomicUsize>) -> Result<AmplifyKinesisClient> {
    let options = AmplifyKinesisClientOptions::default()
        .cache_max_bytes(64 * 1024 * 1024)
        // A full cache blocks the pipe instead of dropping lines.
        .overflow_policy(OverflowPolicy::Wait {
            at_most: Duration::MAX,
        })
        .flush_strategy(FlushStrategy::Adaptive {
            max_delay: Duration::from_secs(1),
            max_records: 500,
            max_bytes: 4 * 1024 * 1024,
        })
        .on_discard(move |_| {
            discarded.fetch_add(1, Ordering::Relaxed);
        });
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let mut builder = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .options(options);
    if let Some(directory) = &flags.cache {
        builder = builder.storage_path(directory);
    }
    Ok(builder.build().await?)
}

async fn read(flags: &Flags, client: &AmplifyKinesisClient, progress: &Progress) -> Result<()> {
    match &flags.follow {
        None => {
            let input = BufReader::new(tokio::io::stdin());
            record_lines(input, false, &flags.stream, client, progress).await
        }
        Some(path) => {
            let file = File::open(path)
                .await
                .with_context(|| format!("cannot open {}", path.display()))?;
            record_lines(BufReader::new(file), true, &flags.stream, client, progress).await
        }
    }
}

async fn record_lines(
    mut input: impl AsyncBufRead + Unpin,
    goes_on: bool,
    stream: &str,
    client: &AmplifyKinesisClient,
    progress: &Progress,
) -> Result<()> {
    let stream = client.stream(stream)?;
    let mut line = Vec::new();
    loop {
        let read = input
            .read_until(b'\n', &mut line)
            .await
            .context("cannot read")?;
        if read == 0 && goes_on {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        if read == 0 && line.is_empty() {
            return Ok(());
        }
        if line.ends_with(b"\n") {
            line.pop();
        } else if goes_on {
            // The rest of this line is not written yet.
            continue;
        }
        let number = progress.recorded() + 1;
        stream
            .record(&line, format!("line-{number}"))
            .await
            .with_context(|| format!("line {number}"))?;
        progress.one_more();
        line.clear();
    }
}

/// Resolves on Ctrl-C or SIGTERM.
fn interruption() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// One line on a terminal, nothing elsewhere.
struct Progress {
    bar: ProgressBar,
    recorded: Arc<AtomicUsize>,
}

impl Progress {
    fn new(client: &AmplifyKinesisClient, before: usize, discarded: Arc<AtomicUsize>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let recorded = Arc::new(AtomicUsize::new(0));
        let task = (client.clone(), Arc::clone(&recorded), bar.clone());
        tokio::spawn(async move {
            let (client, recorded, bar) = task;
            while !bar.is_finished() {
                let recorded = recorded.load(Ordering::Relaxed);
                let cached = client.cache_stats().records;
                let gone = (before + recorded).saturating_sub(cached);
                let delivered = gone.saturating_sub(discarded.load(Ordering::Relaxed));
                bar.set_message(format!(
                    "{recorded} recorded, {cached} waiting, {delivered} delivered"
                ));
                bar.tick();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { bar, recorded }
    }

    fn recorded(&self) -> usize {
        self.recorded.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.recorded.fetch_add(1, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
