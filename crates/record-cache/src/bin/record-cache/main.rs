//! `record-cache`: shows what the directory of a store holds.
//!
//! All commands but `clear` only read, take no lock, and work beside a running client.

mod commands;
mod output;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Shows what the directory of a record cache holds.
///
/// DIRECTORY is that of one cache (`storage_path` of a client), or a client's default directory,
/// of which all slots are shown. For a directory further up, the caches below it are named. Either
/// store may have made it. Reading takes no lock and changes nothing, so a client may be at work
/// there; what is shown is then true for one moment.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How much waits, by stream, and for how long.
    Stats {
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The oldest records.
    Peek {
        #[command(flatten)]
        which: Which,
        /// How many of each stream.
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// Print JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// All records, as JSON lines; of one stream in order.
    Export {
        #[command(flatten)]
        which: Which,
    },
    /// Read everything and check it; the exit status is 1 if something is damaged.
    Verify {
        directory: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete all records, and copies of damaged data. No client may be at work there.
    Clear {
        directory: PathBuf,
        /// Without it, nothing is deleted and the exit status is 2.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    directory: PathBuf,
    /// Of this stream only.
    #[arg(long)]
    stream: Option<String>,
    /// Show payloads, partition keys and explicit hash keys too.
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
        // The reader has closed the pipe.
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
