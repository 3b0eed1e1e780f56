//! The parent: starts and kills children, changes how the endpoint fails, and keeps the ledger.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use amplify_test_support::FakeAws;
use fastrand::Rng;
use tempfile::TempDir;

use super::ledger::{Heard, Ledger};
use super::report::Report;
use super::told::{ClientSettings, Orders, Task, Timer, Told, Word};
use super::weather::{Exchange, Weather};
use integration_tests::{StoreKind, child, now};

/// Longest wait for anything on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The test that a child runs.
    pub test: &'static str,
    pub seed: u64,
    pub time: Duration,
    pub store: StoreKind,
    /// Faults of all kinds and all that a client can do if set, otherwise only kills.
    pub storms: bool,
    /// Whether events share records.
    pub shares_records: bool,
    /// The usual maximum lifetime of a child.
    pub life: Duration,
}

/// A run and everything known about it.
#[derive(Debug)]
pub struct Campaign {
    plan: Plan,
    dice: Rng,
    aws: FakeAws,
    weather: Weather,
    directory: TempDir,
    ledger: Ledger,
    /// Exchanges whose records the child has reported, but whose reports are not read yet.
    unheard: VecDeque<Exchange>,
    /// When the endpoint went down.
    stops: Vec<Instant>,
    is_down: bool,
    children: usize,
    max_retries: u32,
}

/// A living child.
struct Running {
    process: Child,
    words: ChildStdin,
    told: Receiver<Told>,
}

impl Campaign {
    pub fn new(plan: Plan) -> Self {
        let mut dice = Rng::with_seed(plan.seed);
        let aws = FakeAws::builder().count_only().start().unwrap();
        let weather = Weather::over(&aws, plan.seed, plan.shares_records);
        if plan.storms {
            weather.poison();
        }
        let max_retries = dice.u32(0..6);
        Self {
            dice,
            weather,
            aws,
            directory: tempfile::tempdir().unwrap(),
            ledger: Ledger::new(),
            unheard: VecDeque::new(),
            stops: Vec::new(),
            is_down: false,
            children: 0,
            max_retries,
            plan,
        }
    }

    /// Runs the plan, then delivers what remains and closes the ledger.
    pub fn run(mut self) -> (Report, Vec<String>) {
        let end = now() + self.plan.time;
        while now() < end && self.ledger.wrong.is_empty() {
            self.live_and_die(end);
        }
        // Where processes start slowly, too little may have happened by then.
        let end = end + PATIENCE;
        while now() < end && self.ledger.wrong.is_empty() && self.has_seen_little() {
            self.live_and_die(end);
        }
        self.calm_down();
        // After a failure, the remaining records may tell more about it.
        let running = self.start(Task::Finish);
        self.hear_out(running);
        self.ledger.wrong.extend(self.aws.limit_violations());
        self.ledger.close()
    }

    fn has_seen_little(&self) -> bool {
        self.aws.delivered_count() == 0 || self.ledger.report.kills == 0
    }

    /// Runs one child from start to end.
    fn live_and_die(&mut self, end: Instant) {
        let mut running = self.start(match self.plan.storms {
            true => Task::Everything,
            false => Task::RecordAndDeliver,
        });
        let life = match self.dice.u32(0..20) {
            // Long enough to fill the cache and trigger compaction.
            0 => self.plan.life * 8,
            1..5 => self.plan.life / 10,
            _ => self.plan.life,
        };
        let death = end.min(now() + life.mul_f64(self.dice.f64()));
        let ends_well = self.dice.u32(0..6) == 0;
        let mut change = now();
        while now() < death && self.ledger.wrong.is_empty() {
            if self.plan.storms && now() >= change {
                self.change_weather();
                change = now() + Duration::from_millis(self.dice.u64(20..900));
            }
            let until = death.min(change.max(now() + Duration::from_millis(5)));
            match running
                .told
                .recv_timeout(until.saturating_duration_since(now()))
            {
                Ok(told) => self.hear(&told, Some(&mut running.words)),
                Err(RecvTimeoutError::Timeout) => self.enter_exchanges(false),
                Err(RecvTimeoutError::Disconnected) => {
                    let wrong = "a child ended by itself".to_owned();
                    self.ledger.wrong.push(wrong);
                }
            }
        }
        if ends_well && self.ledger.wrong.is_empty() {
            // A clean end takes as long as the requests in flight and those of the last passes.
            self.calm_down();
            say(&mut running.words, Word::End);
            self.hear_out(running);
            self.ledger.report.clean_ends += 1;
        } else {
            self.kill(running);
        }
    }

    fn start(&mut self, task: Task) -> Running {
        let incarnation = self.children;
        let settings = self.settings();
        self.ledger.started(&settings, incarnation);
        self.children += 1;
        let orders = Orders {
            task,
            incarnation,
            seed: self.plan.seed,
            directory: self.directory.path().to_owned(),
            endpoint: self.aws.endpoint_url(),
            store: self.plan.store,
            next: self.ledger.next_numbers(),
            settings,
        };
        let role = serde_json::to_string(&orders).unwrap();
        let mut process = child(self.plan.test, &role).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let words = process.stdin.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            // Skips lines cut off by the kill, and those of the test runner.
            let lines = said.split(b'\n').map_while(Result::ok);
            let news = lines.filter_map(|line| serde_json::from_slice(&line).ok());
            for news in news {
                if tell.send(news).is_err() {
                    return;
                }
            }
        });
        Running {
            process,
            words,
            told,
        }
    }

    fn settings(&mut self) -> ClientSettings {
        let dice = &mut self.dice;
        let timer = match dice.u32(0..10) {
            0 => Timer::Never,
            1..4 => Timer::Adaptive {
                millis: [1, 20, 300][dice.usize(0..3)],
                records: [20, 500][dice.usize(0..2)],
            },
            _ => Timer::Millis([1, 5, 20, 100, 500][dice.usize(0..5)]),
        };
        let (time_outs, attempts) = match self.plan.storms {
            true => ([1000, 2000, 4000], [1, 1, 1, 1, 1, 3]),
            false => ([30_000; 3], [1; 6]),
        };
        ClientSettings {
            survives_power_loss: dice.bool(),
            timer,
            max_in_flight_per_stream: match self.plan.storms && dice.u32(0..4) == 0 {
                true => dice.usize(2..5),
                false => 1,
            },
            request_timeout_millis: time_outs[dice.usize(0..3)],
            max_concurrent_streams: dice.usize(1..6),
            max_retries: self.max_retries,
            cache_max_bytes: [256 << 10, 1 << 20, 5 << 20][dice.usize(0..3)],
            sdk_attempts: attempts[dice.usize(0..6)],
            shares_records: self.plan.shares_records,
            drops_oldest: self.plan.storms && dice.u32(0..3) == 0,
            max_record_age_millis: (self.plan.storms && dice.u32(0..4) == 0)
                .then(|| dice.u64(1000..10_000)),
        }
    }

    // ---- the weather

    fn change_weather(&mut self) {
        self.weather.change(&mut self.dice);
        if self.is_down {
            self.aws.restart().unwrap();
            self.is_down = false;
        } else if self.dice.u32(0..12) == 0 {
            self.stops.push(now());
            self.aws.stop();
            self.is_down = true;
            self.ledger.report.outages += 1;
        }
        let latency = [0, 0, 0, 5, 50, 200][self.dice.usize(0..6)];
        self.aws.set_latency(Duration::from_millis(latency));
        let speed = (self.dice.u32(0..10) == 0).then(|| self.dice.u64(20_000..2_000_000));
        self.aws.set_link_speed(speed);
    }

    fn calm_down(&mut self) {
        self.weather.clear_up();
        self.aws.restart().unwrap();
        self.is_down = false;
        self.aws.set_latency(Duration::ZERO);
        self.aws.set_link_speed(None);
    }

    // ---- listening

    fn hear(&mut self, told: &Told, words: Option<&mut ChildStdin>) {
        let is_quiet = matches!(told, Told::Quiet { .. } | Told::Ended);
        if is_quiet || matches!(told, Told::Discarded { .. }) {
            self.enter_exchanges(is_quiet);
        }
        if let Told::GaveUp { stream } = *told {
            self.doubt(stream);
        }
        let incarnation = self.children - 1;
        let (aws, stops) = (&self.aws, &self.stops);
        let heard = |exchange: &Exchange| heard(aws, stops, exchange);
        self.ledger.told(told, incarnation, heard);
        if let (Told::Quiet { .. }, Some(words)) = (told, words) {
            say(words, Word::GoOn);
        }
    }

    /// Doubts the answers for this stream that are not entered yet. The child may have missed them.
    fn doubt(&mut self, stream: Option<usize>) {
        self.unheard.extend(self.weather.take());
        for exchange in &mut self.unheard {
            exchange.truthful &= stream.is_some_and(|stream| stream != exchange.stream);
        }
    }

    /// Enters the endpoint's exchanges as far as the children reported their records, or all of
    /// them.
    fn enter_exchanges(&mut self, all: bool) {
        self.unheard.extend(self.weather.take());
        let (aws, stops) = (&self.aws, &self.stops);
        while let Some(exchange) = self.unheard.pop_front() {
            if !all && !self.ledger.knows(&exchange) {
                self.unheard.push_front(exchange);
                return;
            }
            let heard = |exchange: &Exchange| heard(aws, stops, exchange);
            self.ledger.exchanged(exchange, heard);
        }
    }

    /// Reads a child's reports until it ends cleanly.
    fn hear_out(&mut self, mut running: Running) {
        let deadline = now() + PATIENCE;
        let mut has_ended = false;
        loop {
            let left = deadline.saturating_duration_since(now());
            match running.told.recv_timeout(left) {
                Ok(told) => {
                    has_ended |= matches!(told, Told::Ended);
                    self.hear(&told, Some(&mut running.words));
                }
                Err(RecvTimeoutError::Disconnected) if has_ended => break,
                Err(error) => {
                    let wrong = format!("a child did not end well: {error}");
                    self.ledger.wrong.push(wrong);
                    running.process.kill().unwrap();
                    break;
                }
            }
        }
        running.process.wait().unwrap();
    }

    fn kill(&mut self, mut running: Running) {
        running.process.kill().unwrap();
        running.process.wait().unwrap();
        while let Ok(told) = running.told.recv() {
            self.hear(&told, None);
        }
        // Requests that have arrived are still judged, and those waiting for an answer are dropped.
        let gone = self
            .aws
            .wait_until_blocking(PATIENCE, |aws| aws.in_flight() == 0);
        gone.unwrap();
        self.enter_exchanges(true);
        self.ledger.killed(self.children - 1);
    }
}

/// Whether the client has read the answer, unless it was killed or reports an earlier timeout.
fn heard(aws: &FakeAws, stops: &[Instant], exchange: &Exchange) -> Heard {
    let Some(log) = aws.request(exchange.index) else {
        return Heard::Perhaps;
    };
    let Some(ended) = log.ended.filter(|_| log.outcome.is_success()) else {
        return Heard::Perhaps;
    };
    // An endpoint that goes down loses data just written to its connections.
    let around = |stop: &Instant| {
        ended < *stop + Duration::from_secs(1) && *stop < ended + Duration::from_secs(1)
    };
    if stops.iter().rev().take(8).any(around) {
        Heard::Perhaps
    } else {
        Heard::Surely
    }
}

fn say(words: &mut ChildStdin, word: Word) {
    // Fails if the child has ended, which is detected elsewhere.
    let _ = words.write_all(word.line().as_bytes());
}
