//! `cargo xtask demo`: sends a file through the client while everything goes wrong.
//!
//! A child process records each line while the endpoint is down. It is killed half-way and started
//! again. Then the endpoint comes up, everything drains, and the demo compares what arrived with
//! the file.

mod child;
mod destination;
mod file;
mod recorder;
mod report;

use std::fmt;
use std::path::PathBuf;

use amplify_test_support::localstack::LocalStack;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio::time::Instant;

use self::child::{Child, News};
use self::destination::Destination;
use self::file::Lines;
use self::report::Report;
use crate::flags::DemoFlags;
use crate::{localstack, shell};

pub(crate) use self::recorder::run as record;

/// Runs the demo.
///
/// # Errors
/// If a line was lost or altered, or if the demo could not run.
///
/// # Cancel safety
/// Kills the child and stops everything it started.
pub(crate) async fn run(flags: DemoFlags) -> Result<()> {
    let lock_file = || shell::workspace().join("Cargo.lock");
    let mut path = flags.file.unwrap_or_else(lock_file);
    let lines = Lines::read(&path)?;
    ensure!(lines.count() > 0, "{} is empty", path.display());
    // Live until the end: the destination only knows their address.
    let (stack, running);
    let destination = if flags.localstack {
        stack = LocalStack::reserve(&localstack::prepare(&flags.engine).await?)?;
        running = stack.start().await?;
        Destination::remote(running.endpoint()).await?
    } else if let Some(endpoint) = &flags.endpoint {
        Destination::remote(endpoint).await?
    } else {
        Destination::loopback()
    };
    let directory = tempfile::tempdir().context("cannot create a directory for the cache")?;
    // The recording process also reads the file, twice, which a pipe or a terminal does not allow.
    // In that process a file below /dev, such as /dev/stdin, is a different one.
    let can_be_read_again = path.is_file() && !path.starts_with("/dev");
    if !can_be_read_again {
        path = directory.path().join("input");
        std::fs::write(&path, &lines.content).context("cannot copy what was read")?;
    }
    let demo = Demo {
        path,
        cache: directory.path().join("cache"),
        lines: lines.count(),
        show: Show::new(lines.count()),
    };
    let started = Instant::now();
    demo.run(&destination).await?;
    let elapsed = started.elapsed();
    demo.show.say("comparing what arrived with the file");
    let arrived = destination.arrived(lines.count()).await?;
    demo.show.clear();
    let report = Report::compare(&lines, &arrived);
    println!("{}", report.table(elapsed, destination.requests()));
    report.verdict()
}

struct Demo {
    path: PathBuf,
    cache: PathBuf,
    lines: usize,
    show: Show,
}

impl Demo {
    async fn run(&self, destination: &Destination) -> Result<()> {
        let half = self.lines / 2;
        self.show.say("the endpoint is down; recording");
        let mut child = self.start(destination, 0)?;
        let mut recorded = 0;
        while recorded < half {
            match child.news().await? {
                Some(News::Recorded(lines)) => recorded = lines,
                Some(News::Cached(_)) => {}
                None => bail!("the recording process ended by itself"),
            }
            self.show.recorded.set_position(recorded as u64);
        }
        // The child may have recorded more lines than it had reported; they are not recorded again.
        recorded = recorded.max(child.kill().await?);
        self.show.say(&format!(
            "killed the recording process (SIGKILL) after {recorded} lines; starting it again"
        ));
        let mut child = self.start(destination, recorded)?;
        let mut is_up = false;
        while let Some(news) = child.news().await? {
            match news {
                News::Recorded(lines) => recorded = lines,
                News::Cached(lines) => {
                    let delivered = recorded.saturating_sub(lines);
                    self.show.delivered.set_position(delivered as u64);
                }
            }
            self.show.recorded.set_position(recorded as u64);
            if !is_up && recorded == self.lines {
                destination.come_up().await?;
                is_up = true;
                self.show.say("the endpoint is up; delivering");
            }
        }
        child.ended_well().await
    }

    fn start(&self, destination: &Destination, from: usize) -> Result<Child> {
        Child::start(&self.path, &self.cache, &destination.address(), from)
    }
}

/// Whole lines per second.
fn whole_rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // Writing to the bar's own text cannot fail.
    let _ = write!(text, "{:.0}", state.per_sec());
}

/// The demo's output: bars on a terminal, lines elsewhere.
struct Show {
    bars: MultiProgress,
    recorded: ProgressBar,
    delivered: ProgressBar,
}

impl Show {
    fn new(lines: usize) -> Self {
        let bars = MultiProgress::new();
        let bar = |name: &'static str| {
            let bar = bars.add(ProgressBar::new(lines as u64));
            let template = "{prefix:>9} {bar:40} {pos:>9}/{len} lines {rate:>8}/s";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.with_key("rate", whole_rate));
            }
            bar.with_prefix(name)
        };
        let (recorded, delivered) = (bar("recorded"), bar("delivered"));
        Self {
            bars,
            recorded,
            delivered,
        }
    }

    fn say(&self, what: &str) {
        if self.recorded.is_hidden() {
            eprintln!("{what}");
        } else {
            // A failing terminal must not stop the demo.
            let _ = self.bars.println(what);
        }
    }

    fn clear(&self) {
        self.recorded.finish_and_clear();
        self.delivered.finish_and_clear();
    }
}
