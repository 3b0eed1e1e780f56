//! One workload and many power losses during it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use amplify_test_support::power_loss::{
    Action, Change, Event, Fate, Image, Places, Plan, Rules, State, States, Timeline, trace,
};
use integration_tests::number_in;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::inspect::Report;
use super::ledger::{Ledger, Loss};
use super::marks::Mark;
use super::process::{Job, inspect_elsewhere};
use super::stores::Subject;
use super::workload::{Setting, Workload};

/// Power losses per workload, unless `POWER_LOSS_STATES` sets another number.
const STATES: usize = 30;
/// One in this many power losses is followed by a restart that also loses power.
const RESTART_EVERY: usize = 12;
const LOSSES_AFTER_RESTART: usize = 6;

/// Many times what all campaigns keep at a time.
const ROOM: u64 = 2 * 1024 * 1024 * 1024;
/// The number of processes that inspect states at the same time.
const INSPECTORS: usize = 3;
const NARROWING: usize = 60;

/// One store under one workload.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    pub subject: Subject,
    pub workload: Workload,
    pub seed: u64,
    pub states: usize,
    pub plans: &'static [Plan],
    /// Limit on retries of a harmful power loss, which look for the changes that matter.
    pub narrowing: usize,
}

/// The result of a campaign.
#[derive(Debug, Default)]
struct Outcome {
    states: usize,
    /// Records that had to be there, summed over all states.
    required: usize,
    /// States in which the store reported damaged records or moved data aside.
    with_damage: usize,
    /// One text for each harmful state. The first has all the details.
    harmful: Vec<String>,
}

/// A power loss to inspect.
#[derive(Debug)]
struct Trial {
    story: Arc<Timeline>,
    state: State,
    title: String,
}

impl Trial {
    /// A power loss that drops nothing is only a process end, unless the power was lost before.
    fn loss(&self) -> Loss {
        let before = &self.story.events()[..self.state.moment];
        let whole = self.state.fates.iter().all(|fate| *fate == Fate::Kept);
        let lost = |event: &Event| matches!(event, Event::PowerLost(_));
        if whole && !before.iter().any(lost) {
            Loss::OfProcess
        } else {
            Loss::OfPower
        }
    }
}

#[derive(Debug)]
struct Verdict {
    trial: Trial,
    required: usize,
    damage: bool,
    wrong: Vec<String>,
}

/// Where the processes work, and where the states they leave are opened.
#[derive(Debug)]
struct Ground {
    directory: tempfile::TempDir,
    states: tempfile::TempDir,
    places: Places,
}

impl Campaign {
    /// A campaign of the default size.
    pub fn new(subject: Subject, workload: Workload) -> Self {
        let states = number_in("POWER_LOSS_STATES");
        Self {
            subject,
            workload,
            seed: number_in("POWER_LOSS_SEED").unwrap_or(1),
            states: states.map_or(STATES, |states| states.try_into().unwrap()),
            plans: &Plan::EACH,
            narrowing: NARROWING,
        }
    }

    /// Runs the campaign and fails if any power loss did harm.
    pub async fn must_do_no_harm(self) {
        let Outcome {
            states, harmful, ..
        } = self.run().await.unwrap();
        if let Some(first) = harmful.first() {
            let others: String = harmful[1..].iter().fold(String::new(), |mut all, text| {
                let _ = writeln!(all, "{}", text.lines().next().unwrap_or_default());
                all
            });
            panic!(
                "{} of {states} losses of power did harm\n{first}\nthe others:\n{others}",
                harmful.len()
            );
        }
    }

    /// Runs the campaign where harm is expected, and returns what was wrong.
    pub async fn harm(mut self) -> Vec<String> {
        self.narrowing = 0;
        self.run().await.unwrap().harmful
    }

    /// Runs the campaign.
    ///
    /// # Errors
    /// When a process cannot be traced, or does something that is not modelled.
    async fn run(self) -> io::Result<Outcome> {
        let ground = Ground::new()?;
        let mut story = Timeline::starting_from(Image::empty());
        self.work(&ground, &mut story, self.workload, 0)?;
        let story = Arc::new(story);
        let mut outcome = Outcome::default();
        let mut restarts = Vec::new();
        let trials = self.trials(&story, 0, self.states, "");
        let trials = trials.enumerate().map(|(number, trial)| {
            if number % RESTART_EVERY == RESTART_EVERY / 2 {
                restarts.push(restart(&trial, restarts.len()));
            }
            trial
        });
        self.try_all(&ground, trials, &mut outcome).await?;
        for (mut story, title) in restarts {
            let began = story.events().len();
            ground.begin_with(story.files())?;
            match self.work(&ground, &mut story, Workload::Restart, began) {
                Ok(()) => {
                    let story = Arc::new(story);
                    let trials = self.trials(&story, began, LOSSES_AFTER_RESTART, &title);
                    self.try_all(&ground, trials, &mut outcome).await?;
                }
                Err(error) => outcome.harmful.push(format!("{title}{error}")),
            }
        }
        self.tell(&outcome);
        Ok(outcome)
    }

    fn tell(self, outcome: &Outcome) {
        let Self {
            subject,
            workload,
            seed,
            ..
        } = self;
        let Outcome {
            states,
            required,
            with_damage,
            harmful,
        } = outcome;
        println!(
            "{subject} {workload:?}: seed={seed}, states={states}, records that had to be there={required}, \
             states with damage reported={with_damage}, harmful={}",
            harmful.len()
        );
    }

    /// Runs a traced process in the arena and adds its calls to the story.
    fn work(
        self,
        ground: &Ground,
        story: &mut Timeline,
        workload: Workload,
        salt: usize,
    ) -> io::Result<()> {
        let setting = Setting {
            subject: self.subject,
            place: ground.places.arena().join("store"),
            marks: ground.places.marks().to_owned(),
            seed: self.seed.wrapping_add(salt as u64),
            next_number: ledger(story.events()).next_number(),
        };
        let job = Job::Work(workload, setting);
        let log = ground.directory.path().join("log");
        let calls = trace(&job.command(), &log)?;
        story.record_all(&calls, &ground.places)
    }

    fn trials<'a>(
        self,
        story: &'a Arc<Timeline>,
        from: usize,
        count: usize,
        title: &'a str,
    ) -> impl Iterator<Item = Trial> + 'a {
        // Two thirds use the strict rules, which allow every state that the others do.
        let strict = count - count / 3;
        let sample =
            |rules, count| States::sample(story, from, count, self.seed, rules, self.plans);
        let strict = sample(Rules::Strict, strict).map(|state| (Rules::Strict, state));
        let journal = sample(Rules::Journal, count / 3).map(|state| (Rules::Journal, state));
        strict.chain(journal).map(move |(rules, state)| Trial {
            title: format!(
                "{title}event {} of {}, {:?}, {rules:?} rules",
                state.moment,
                story.events().len(),
                state.plan
            ),
            story: Arc::clone(story),
            state,
        })
    }

    async fn try_all(
        self,
        ground: &Ground,
        trials: impl Iterator<Item = Trial>,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(INSPECTORS));
        let mut running = JoinSet::new();
        for (number, trial) in trials.enumerate() {
            outcome.states += 1;
            let place = ground.states.path().join(format!("state-{number}"));
            let permit = Arc::clone(&places).acquire_owned().await;
            while let Some(done) = running.try_join_next() {
                self.conclude(ground, done?, outcome).await?;
            }
            running.spawn(async move {
                let _permit = permit;
                try_one(self.subject, trial, &place).await
            });
        }
        while let Some(done) = running.join_next().await {
            self.conclude(ground, done?, outcome).await?;
        }
        Ok(())
    }

    async fn conclude(
        self,
        ground: &Ground,
        verdict: io::Result<Verdict>,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let verdict = verdict?;
        outcome.required += verdict.required;
        outcome.with_damage += usize::from(verdict.damage);
        if !verdict.wrong.is_empty() {
            let first = outcome.harmful.is_empty() && self.narrowing > 0;
            let told = if first {
                self.explain(ground, verdict).await?
            } else {
                format!("{}: {}", verdict.trial.title, verdict.wrong[0])
            };
            outcome.harmful.push(told);
        }
        Ok(())
    }

    /// Finds out which dropped changes matter, and keeps what is needed to investigate.
    async fn explain(self, ground: &Ground, verdict: Verdict) -> io::Result<String> {
        let Verdict {
            trial, mut wrong, ..
        } = verdict;
        let place = ground.states.path().join("narrowed");
        let mut state = trial.state.clone();
        let mut chunk = state.fates.len().div_ceil(2).max(1);
        let mut tries = 0;
        let mut at = 0;
        while tries < self.narrowing {
            if at >= state.fates.len() {
                if chunk == 1 {
                    break;
                }
                (at, chunk) = (0, chunk.div_ceil(2));
            }
            let mut narrowed = state.clone();
            let end = (at + chunk).min(narrowed.fates.len());
            narrowed.fates[at..end].fill(Fate::Kept);
            at = end;
            if narrowed.fates == state.fates {
                continue;
            }
            tries += 1;
            let trial = Trial {
                story: Arc::clone(&trial.story),
                state: narrowed,
                title: String::new(),
            };
            let tried = try_one(self.subject, trial, &place).await?;
            if !tried.wrong.is_empty() {
                (state, wrong) = (tried.trial.state, tried.wrong);
            }
        }
        let kept = self.keep(ground, &state)?;
        let mut told = format!("{}: {}\n", trial.title, wrong[0]);
        let _ = writeln!(told, "seed={}, kept in {}", self.seed, kept.display());
        for what in wrong.iter().take(10) {
            let _ = writeln!(told, "  {what}");
        }
        let _ = writeln!(told, "of {} in all wrong", wrong.len());
        let events = &trial.story.events()[..state.moment];
        let marks = events.iter().filter_map(|event| match event {
            Event::Mark(mark) => Some(mark),
            _ => None,
        });
        let last: Vec<&String> = marks.rev().take(8).collect();
        for mark in last.iter().rev() {
            let _ = writeln!(
                told,
                "  said: {}",
                mark.chars().take(160).collect::<String>()
            );
        }
        for line in state.disk.describe(&state.fates) {
            let _ = writeln!(told, "  {line}");
        }
        Ok(told)
    }

    fn keep(self, ground: &Ground, state: &State) -> io::Result<PathBuf> {
        let name = format!(
            "power-loss-{}-{:?}-{}",
            self.subject, self.workload, self.seed
        );
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir_all(&kept)?;
        state.image().write_to(&kept.join("arena"))?;
        fs::copy(ground.directory.path().join("log"), kept.join("log"))?;
        Ok(kept)
    }
}

impl Ground {
    fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let arena = directory.path().join("arena");
        fs::create_dir(&arena)?;
        let places = Places::new(&arena, &directory.path().join("marks"))?;
        Ok(Self {
            directory,
            states: roomy_directory()?,
            places,
        })
    }

    /// Replaces the arena's contents with these files.
    fn begin_with(&self, files: &Image) -> io::Result<()> {
        fs::remove_dir_all(self.places.arena())?;
        files.write_to(self.places.arena())
    }
}

/// In memory if there is room, since the simulation alone decides what a sync does.
fn roomy_directory() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    match rustix::fs::statvfs(memory) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) >= ROOM => {
            tempfile::tempdir_in(memory)
        }
        _ => tempfile::tempdir(),
    }
}

/// The story continued after this power loss, or after a process end instead.
fn restart(trial: &Trial, number: usize) -> (Timeline, String) {
    let State {
        moment,
        fates,
        disk,
        ..
    } = &trial.state;
    if number.is_multiple_of(2) {
        let story = trial.story.power_lost_at(*moment, trial.state.image());
        let changes = disk.describe(fates).join("\n  ");
        let title = &trial.title;
        (story, format!("a restart after {title}\n  {changes}\n, "))
    } else {
        // A process end most easily leaves behind names that were created but not synced.
        let before = &trial.story.events()[..*moment];
        let named = before
            .iter()
            .rposition(|event| matches!(event, Event::Begin(_, Action::Change(Change::Rename(_)))));
        let moment = named.map_or(*moment, |named| named + 2);
        let story = trial.story.killed_at(moment);
        (
            story,
            format!("a restart after the end of the process at event {moment}, "),
        )
    }
}

async fn try_one(subject: Subject, trial: Trial, place: &Path) -> io::Result<Verdict> {
    let image = trial.state.image();
    let (arena, report) = (place.join("arena"), place.join("report"));
    fs::create_dir(place)?;
    image.write_to(&arena)?;
    let report: Report = inspect_elsewhere(subject, &arena.join("store"), &report).await?;
    fs::remove_dir_all(place)?;
    let ledger = ledger(&trial.story.events()[..trial.state.moment]);
    Ok(Verdict {
        required: ledger.required(),
        damage: report.damaged > 0 || report.moved_aside,
        wrong: ledger.judge(&report, trial.loss()),
        trial,
    })
}

fn ledger(events: &[Event]) -> Ledger {
    let marks = events.iter().enumerate();
    Ledger::of(marks.filter_map(|(at, event)| match event {
        Event::Mark(mark) => Some((at, serde_json::from_str::<Mark>(mark).unwrap())),
        _ => None,
    }))
}
