//! Runs one pass at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use record_cache::{StoreStats, StreamName};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::api::{EngineOptions, RecordSender};
use crate::cache::Cache;
use crate::delivery::charge::Charges;
use crate::delivery::context::Environment;
use crate::delivery::history::History;
use crate::delivery::pass::{self, Passed};
use crate::delivery::plan::Plan;
use crate::delivery::signals::Turns;
use crate::lifecycle::Lifecycle;
use crate::telemetry::Meter;

/// Runs passes and keeps the history between them.
pub(crate) struct Passes {
    env: Arc<Environment>,
    /// Locked by the running pass.
    history: Arc<Mutex<History>>,
    ended: watch::Sender<Ended>,
}

/// What the timer learns about ended passes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    /// How many passes ended, not counting catch-up passes.
    pub(crate) passes: u64,
    /// Streams with another full batch waiting after the last pass delivered one.
    pub(crate) behind: Vec<StreamName>,
}

/// The right to run a pass.
#[derive(Debug)]
pub(crate) struct Turn(OwnedMutexGuard<History>);

impl Passes {
    pub(crate) fn new(
        cache: Arc<Cache>,
        sender: Arc<dyn RecordSender>,
        options: EngineOptions,
        meter: Meter,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let env = Environment {
            cache,
            sender,
            options,
            meter,
            lifecycle,
            turns: Turns::new(),
            charges: Charges::default(),
        };
        Self {
            env: Arc::new(env),
            history: Arc::default(),
            ended: watch::Sender::default(),
        }
    }

    /// Runs a pass, unless one is running already.
    pub(crate) async fn try_run(self: &Arc<Self>, plan: Plan) -> Option<Passed> {
        let turn = Turn(Arc::clone(&self.history).try_lock_owned().ok()?);
        let passes = Arc::clone(self);
        let pass = async move { Ok(passes.run(turn, plan).await) };
        let passed = self.env.lifecycle.run_to_end(pass).await;
        Some(passed.unwrap_or_else(Passed::failed))
    }

    /// Waits until no pass is running. Asks a running pass to make way.
    pub(crate) async fn turn(&self) -> Turn {
        let _wanted = self.env.turns.want();
        Turn(Arc::clone(&self.history).lock_owned().await)
    }

    /// Runs a pass.
    pub(crate) async fn run(self: Arc<Self>, turn: Turn, plan: Plan) -> Passed {
        let env = Arc::clone(&self.env);
        // Dropped last, so tasks woken by the end of the pass find none running.
        let mut end = EndOfPass {
            catches_up: matches!(plan, Plan::CatchUp(_)),
            behind: Vec::new(),
            passes: self,
        };
        let passed = pass::run(env, turn.0, plan).await;
        end.behind.clone_from(&passed.behind);
        passed
    }

    /// Subscribes to the ends of passes.
    pub(crate) fn ended(&self) -> watch::Receiver<Ended> {
        self.ended.subscribe()
    }
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passes")
            .field("sender", &self.env.sender)
            .field("options", &self.env.options)
            .finish_non_exhaustive()
    }
}

/// Announces the end of a pass, whatever ended it.
struct EndOfPass {
    passes: Arc<Passes>,
    catches_up: bool,
    behind: Vec<StreamName>,
}

impl Drop for EndOfPass {
    fn drop(&mut self) {
        let behind = std::mem::take(&mut self.behind);
        self.passes.ended.send_modify(|ended| {
            ended.passes += u64::from(!self.catches_up);
            ended.behind = behind;
        });
    }
}

impl Turn {
    /// The shortest remaining backoff of all streams, if any.
    pub(crate) fn wait(&self, cached: &StoreStats) -> Option<Duration> {
        let wait = |stream: &StreamName| self.0.of(stream).wait();
        cached.streams.keys().map(wait).min()
    }
}
