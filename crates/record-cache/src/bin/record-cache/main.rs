//! `record-cache`: shows the contents of a store's directory.
//!
//! All commands except `clear` only read, take no lock, and work next to a running client.

mod commands;
mod output;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Shows the contents of a record cache's directory.
///
/// DIRECTORY is one cache (a client's `storage_path`), or a client's default directory, in which
/// case all its slots are shown. For a directory further up, the caches below it are listed. Either
/// kind of store may have created it. Reading takes no lock and changes nothing, so a client may be
/// running; the output is then a snapshot.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how many records each stream holds, and for how long.
    Stats {
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the oldest records.
    Peek {
        #[command(flatten)]
        which: Which,
        /// The most records per stream.
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// Print JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Print all records as JSON lines, in order within each stream.
    Export {
        #[command(flatten)]
        which: Which,
    },
    /// Read and check everything. The exit status is 1 if anything is damaged.
    Verify {
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete all records and all copies of damaged data. No client may be using the cache.
    Clear {
        directory: PathBuf,
        /// Required: otherwise nothing is deleted and the exit status is 2.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    directory: PathBuf,
    /// Only this stream.
    #[arg(long)]
    stream: Option<String>,
    /// Also show payloads, partition keys and explicit hash keys.
    #[arg(long)]
    payloads: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = commands::run(flags.command, &mut out);
    let outcome = outcome.and_then(|sound| Ok(out.flush().map(|()| sound)?));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader closed the pipe.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
