//! Writes discarded records to a file, and records them again.
//!
//! ```console
//! $ dead_letter send --stream orders < orders.txt   # what is given up lands in dead-letters.jsonl
//! $ dead_letter back                                # once the cause is mended: recorded again
//! ```
//!
//! The file has one JSON record per line, with the reason and the error code, so you can inspect
//! and edit it before recording again. After a crash it may contain a record twice: a handler is
//! called again for a record that was not deleted in time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, CloseOptions, DiscardedRecord, KinesisRecord,
};
use anyhow::{Context, Result, bail};
use base64_simd::STANDARD as BASE64;
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    command: Command,
    /// The file for discarded records.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "dead-letters.jsonl"
    )]
    letters: PathBuf,
    /// How often a record is retried.
    #[arg(long, global = true, default_value_t = 5)]
    max_retries: u32,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record the lines of standard input and deliver them.
    Send {
        #[arg(long)]
        stream: String,
    },
    /// Record the discarded records again.
    Back,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    stream: String,
    partition_key: String,
    /// In decimal digits, as the service takes it: many JSON readers cannot hold numbers that
    /// large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<String>,
    /// In base64, because a payload may be any bytes.
    data: String,
    attempts: u32,
    reason: String,
    code: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    let letters = Letters::open(&flags.letters)?;
    let options = AmplifyKinesisClientOptions::default()
        .max_retries(flags.max_retries)
        .on_discard(move |record| {
            // The record stays on disk in the cache until this returns.
            if let Err(error) = letters.add(&record) {
                eprintln!("a record of {} is lost: {error}", record.stream_name);
            }
        });
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let client = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .options(options)
        .build()
        .await?;

    let recorded = match flags.command {
        Command::Send { stream } => send(&client, &stream).await?,
        Command::Back => back(&client, &flags.letters).await?,
    };
    // A drain charges a record at most once in 30 s, so that a brief outage costs nothing; every call of
    // flush charges. This program should not wait for minutes.
    let flushed = client.flush().await;
    let last_chance = CloseOptions::default().drain(Duration::from_secs(10));
    let drained = client.close_with(last_chance).await;
    let (mut delivered, mut given_up) = (0, 0);
    for ended in [flushed, drained] {
        let done = ended.unwrap_or_else(|error| {
            // Usually offline. Undelivered records are kept for the next run.
            eprintln!("{error}; {}", error.recovery_suggestion());
            error.flush_data().cloned().unwrap_or_default()
        });
        delivered += done.records_flushed;
        given_up += done.records_discarded;
        for skipped in done.skipped_streams {
            eprintln!("{}: {}", skipped.stream_name, skipped.message);
        }
    }
    let left = client.cache_stats().records;
    println!("{recorded} recorded, {delivered} delivered, {given_up} given up, {left} left");
    Ok(())
}

async fn send(client: &AmplifyKinesisClient, stream: &str) -> Result<usize> {
    let stream = client.stream(stream)?;
    let mut count = 0;
    for line in io::stdin().lines() {
        count += stream
            .record(line?, format!("line-{count}"))
            .await?
            .records_stored;
    }
    Ok(count)
}

/// Records the letters. A crash may record some twice but loses none: the file is deleted once all
/// are on disk.
async fn back(client: &AmplifyKinesisClient, path: &Path) -> Result<usize> {
    let taken = path.with_extension("taken");
    if taken.exists() {
        bail!(
            "{} is from a run that was cut short; rename it to {}",
            taken.display(),
            path.display()
        );
    }
    // Records discarded from now on must not mix with those read here.
    fs::rename(path, &taken).with_context(|| format!("no letters in {}", path.display()))?;
    let mut count = 0;
    for (number, line) in BufReader::new(File::open(&taken)?).lines().enumerate() {
        let place = || format!("{}:{}", taken.display(), number + 1);
        let letter: Letter = serde_json::from_str(&line?).with_context(place)?;
        let data = BASE64.decode_to_vec(&letter.data).with_context(place)?;
        let mut record = KinesisRecord::new(data, letter.partition_key, letter.stream);
        if let Some(hash_key) = letter.explicit_hash_key {
            record = record.explicit_hash_key(hash_key.parse().with_context(place)?);
        }
        count += client.record_all([record]).await?.records_stored;
    }
    fs::remove_file(taken)?;
    Ok(count)
}

/// The file; opened for each letter, so it can be moved at any time.
struct Letters {
    path: PathBuf,
    one_at_a_time: Mutex<()>,
}

impl Letters {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            one_at_a_time: Mutex::default(),
        })
    }

    fn add(&self, record: &DiscardedRecord) -> io::Result<()> {
        let letter = Letter {
            stream: record.stream_name.clone(),
            partition_key: record.partition_key.clone().unwrap_or_default(),
            explicit_hash_key: record.explicit_hash_key.map(|key| key.to_string()),
            data: BASE64.encode_to_string(&record.data),
            attempts: record.attempts,
            reason: format!("{:?}", record.reason),
            code: record.code.clone(),
        };
        let mut line = serde_json::to_vec(&letter)?;
        line.push(b'\n');
        let _turn = self.one_at_a_time.lock();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()
    }
}
