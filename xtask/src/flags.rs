//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Developer commands of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record a file line by line, with crashes and outages, and compare what arrives.
    Demo(DemoFlags),
    /// The recording process, started and killed by `demo`.
    #[command(hide = true)]
    DemoRecorder(RecorderFlags),
    /// Run all tests that need nothing but this workspace.
    Test {
        /// Passed on to `cargo test --workspace`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Simulate power losses from traces of processes that use the stores.
    PowerLoss(PowerLossFlags),
    /// Run the end-to-end tests against LocalStack, which is found or installed.
    E2e(E2eFlags),
    /// Run an endpoint to send to, and print the environment to use.
    Endpoint(EndpointFlags),
    /// Build the page of `examples/browser` and serve it, beside an endpoint.
    Browser(BrowserFlags),
    /// Measure the stores and the delivery against their limits.
    Bench(BenchFlags),
    /// A process that `bench` starts: it measures one thing, or is the endpoint.
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchWorker {
        /// The job to do.
        job: String,
        /// The job's input, in JSON.
        input: String,
    },
    /// Build and run the examples as programs outside this workspace.
    Consumers,
    /// Package each crate and check the requirements for publishing.
    Package,
    /// Count the crates that a client adds to a program that already has the AWS SDK.
    Weight(WeightFlags),
    /// Check which part of the workspace imports which.
    Rooms {
        /// Another checkout to check.
        folder: Option<PathBuf>,
    },
    /// Check the crates for other systems, and test on Windows under Wine and in Chromium.
    Ports {
        /// What to run [default: all but windows-clients].
        #[arg(value_enum, value_name = "PART")]
        parts: Vec<Port>,
    },
    /// Run what `.ci/run` runs.
    Ci {
        /// The steps to run; the usual ones if none is named.
        #[arg(value_enum, value_name = "STEP")]
        steps: Vec<Step>,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct DemoFlags {
    /// The file whose lines are recorded [default: this workspace's Cargo.lock].
    pub(crate) file: Option<PathBuf>,
    /// Deliver to a LocalStack, which is found or installed.
    #[arg(long, conflicts_with = "endpoint")]
    pub(crate) localstack: bool,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
    /// Deliver to the Kinesis at this http URL; its stream `demo` is recreated.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct WeightFlags {
    /// Also build the programs and compare their sizes, which takes minutes.
    #[arg(long)]
    pub(crate) size: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EndpointFlags {
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 4566)]
    pub(crate) port: u16,
    /// Milliseconds to delay each answer.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pub(crate) latency: u64,
    /// Print each record that arrives, with its payload as text.
    #[arg(long)]
    pub(crate) payloads: bool,
    /// Run LocalStack instead, which is found or installed.
    #[arg(long, conflicts_with_all = ["port", "latency", "payloads"])]
    pub(crate) localstack: bool,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
}

#[derive(Debug, Args)]
pub(crate) struct BrowserFlags {
    /// The port of the page; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// The port of the endpoint.
    #[arg(long, default_value_t = 4566)]
    pub(crate) endpoint: u16,
}

#[derive(Debug, Args)]
pub(crate) struct RecorderFlags {
    #[arg(long)]
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) cache: PathBuf,
    #[arg(long)]
    pub(crate) endpoint: String,
    /// The first line to record.
    #[arg(long)]
    pub(crate) from: usize,
}

#[derive(Debug, Default, Args)]
pub(crate) struct PowerLossFlags {
    /// Power losses for each store and workload [default: 30].
    #[arg(long)]
    pub(crate) states: Option<usize>,
    /// Seed that selects them [default: 1].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Passed on to the test program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct E2eFlags {
    /// Use the LocalStack at this URL; skip tests that stop or configure it.
    #[arg(long, value_name = "URL", conflicts_with = "EngineFlags")]
    pub(crate) endpoint: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
    /// Passed on to the test programs.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Where LocalStack runs; by default in Docker if its engine answers, otherwise on this machine.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct EngineFlags {
    /// Run LocalStack in Docker.
    #[arg(long)]
    pub(crate) docker: bool,
    /// Run LocalStack on this machine, installed below `target/` if necessary.
    #[arg(long)]
    pub(crate) host: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting.
    Fmt,
    /// Clippy, with warnings denied.
    Clippy,
    /// Which part of the workspace imports which.
    Rooms,
    /// Unit, integration and documentation tests.
    Test,
    /// Tests that mount file systems and fill them.
    FullDisks,
    /// Power losses, simulated from traces of processes.
    PowerLoss,
    /// The demo, on this workspace's own lock file.
    Demo,
    /// Documentation, with warnings denied.
    Doc,
    /// Licences, sources and banned crates of the dependencies.
    Deny,
    /// Programs outside the workspace.
    Consumers,
    /// Crates as they would be published.
    Package,
    /// Crates that a client adds.
    Weight,
    /// Unused dependencies; needs `cargo machete`.
    Machete,
    /// Changes of the public API against the last tag; needs `cargo semver-checks`.
    SemverChecks,
    /// Other systems: type checks, and tests under Wine and in Chromium.
    Ports,
    /// End-to-end tests against LocalStack on this machine, and other readers of shared records.
    E2e,
}

/// A check of other systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Port {
    /// Type-check the crates for Windows, macOS, iOS, Android and WebAssembly.
    Check,
    /// Run the store tests on Windows under Wine.
    Windows,
    /// Run the tests of the browser store, a client and the demo page in headless Chromium.
    Browser,
    /// Run the demo and the tests of the engine, the clients, full disks and large caches under Wine;
    /// only if named.
    WindowsClients,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Everything about the stores alone.
    Store,
    /// Everything about delivery.
    Delivery,
    /// Durable ingest, by record size and number of tasks.
    Ingest,
    /// Reading and settling a batch, by the number of records behind it.
    Settle,
    /// Opening, by the bytes that are cached.
    Open,
    /// Disk and memory while records come and go.
    Churn,
    /// Draining a cache, with and without latency.
    Drain,
    /// One pass over eight streams.
    Pass,
    /// Recording and delivering at the same time, and a whole file.
    Flow,
    /// What events cost, with and without shared records.
    Cost,
}

#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    /// What to measure; everything if nothing is named.
    #[arg(value_enum, value_name = "PART")]
    pub(crate) parts: Vec<Part>,
    /// Fewer rounds, sizes and records: a few minutes in all.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Put the tables into docs/performance.md.
    #[arg(long)]
    pub(crate) write: bool,
}

/// The name of a value on the command line.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
