//! How the endpoint treats each request: at random, with odds set by its current mood.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplify_test_support::{FakeAws, PutRecord, PutRequest, Reply, Service};
use fastrand::Rng;
use integration_tests::{page, shared};

use super::payload::{Id, STREAMS, stream};

/// How the endpoint fails at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing fails, except for poison.
    Fair,
    /// Every request gets its own fate.
    Mixed,
    /// Single records fail, again and again.
    Picky,
    /// Requests are throttled.
    Throttled,
    /// The service fails with 5xx, with and without a code.
    Ill,
    /// Callers are denied.
    Denied,
    /// Records are accepted, and the answer is lost.
    Lossy,
    /// Many requests are never answered.
    Hanging,
    /// One stream does not exist.
    Missing(usize),
    /// One stream hangs.
    Dead(usize),
}

impl Mood {
    fn any(dice: &mut Rng) -> Self {
        match dice.u32(0..20) {
            0..4 => Self::Fair,
            4..10 => Self::Mixed,
            10 => Self::Picky,
            11 | 12 => Self::Throttled,
            13 => Self::Ill,
            14 => Self::Denied,
            15 | 16 => Self::Lossy,
            17 => Self::Hanging,
            18 => Self::Missing(dice.usize(0..STREAMS)),
            _ => Self::Dead(dice.usize(0..STREAMS)),
        }
    }
}

/// One judged request: what was done, and what the client was told.
#[derive(Debug)]
pub struct Exchange {
    /// The request's index at the endpoint.
    pub index: usize,
    pub incarnation: usize,
    pub service: Service,
    pub stream: usize,
    pub records: Vec<Met>,
    /// The answer has results, and they are true.
    pub truthful: bool,
    /// Differences between what was recorded and what arrived.
    pub wrong: Vec<String>,
}

/// The fate of a record in an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Met {
    pub id: Id,
    pub accepted: bool,
    /// The client is told that this record failed, or its request for what it contains.
    pub charged: bool,
}

/// The weather over one endpoint.
#[derive(Debug, Clone)]
pub struct Weather(Arc<Mutex<Sky>>);

#[derive(Debug)]
struct Sky {
    seed: u64,
    shares_records: bool,
    dice: Rng,
    mood: Mood,
    poison: bool,
    exchanges: Vec<Exchange>,
}

impl Weather {
    /// Controls an endpoint from now on.
    pub fn over(aws: &FakeAws, seed: u64, shares_records: bool) -> Self {
        let weather = Self(Arc::new(Mutex::new(Sky {
            seed,
            shares_records,
            dice: Rng::with_seed(seed ^ 0x5EA),
            mood: Mood::Fair,
            poison: false,
            exchanges: Vec::new(),
        })));
        let ruling = weather.clone();
        aws.always(move |request| ruling.sky().judge(request));
        weather
    }

    /// From now on, poison records are refused.
    pub fn poison(&self) {
        self.sky().poison = true;
    }

    /// Changes the weather for later requests.
    pub fn change(&self, dice: &mut Rng) {
        self.sky().mood = Mood::any(dice);
    }

    pub fn clear_up(&self) {
        self.sky().mood = Mood::Fair;
    }

    /// Takes the exchanges judged since the last call.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.sky().exchanges)
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply and its meaning for each record of the request.
struct Fate {
    reply: Reply,
    accepted: Vec<bool>,
    charged: Vec<bool>,
    truthful: bool,
}

impl Sky {
    fn judge(&mut self, request: &PutRequest) -> Reply {
        let mut wrong = Vec::new();
        let mut ids = Vec::new();
        for (place, record) in self.events(request, &mut wrong) {
            match Id::of_whole(&record, self.seed) {
                Ok(id)
                    if id.lane.service() != request.service
                        || id.lane.stream() != request.stream =>
                {
                    wrong.push(format!("{id:?} was sent to {}", request.stream));
                }
                Ok(id) => ids.push((place, id)),
                Err(problem) => wrong.push(problem),
            }
        }
        if !wrong.is_empty() {
            ids.clear();
        }
        if self.shares_records {
            // Events that share records by key are in key order within a request, which
            // `tests/wire/aggregation.rs` checks.
            ids.sort_by_key(|(_, id)| (id.lane.0, id.number));
        }
        let number = (0..STREAMS).find(|&number| stream(number) == request.stream);
        let number = number.unwrap_or_default();
        let poisoned = self.poison && ids.iter().any(|(_, id)| id.is_poison(self.seed));
        let fate = self.fate(number, request.records.len(), poisoned);
        let met = |&(at, id): &(usize, Id)| Met {
            id,
            accepted: fate.accepted[at],
            charged: fate.charged[at],
        };
        self.exchanges.push(Exchange {
            index: request.index,
            incarnation: incarnation(request),
            service: request.service,
            stream: number,
            records: ids.iter().map(met).collect(),
            truthful: fate.truthful,
            wrong,
        });
        fate.reply
    }

    /// The events of a request, each with the index of its record.
    fn events(&self, request: &PutRequest, wrong: &mut Vec<String>) -> Vec<(usize, PutRecord)> {
        let mut events = Vec::new();
        for (place, record) in request.records.iter().enumerate() {
            let within = match self.shares_records {
                true => shared(request.service, record),
                false => Ok(vec![record.clone()]),
            };
            match within {
                Ok(within) => events.extend(within.into_iter().map(|event| (place, event))),
                Err(problem) => wrong.push(problem),
            }
        }
        events
    }

    fn fate(&mut self, stream: usize, records: usize, poisoned: bool) -> Fate {
        let lot = match self.mood {
            Mood::Fair => 0,
            Mood::Mixed => self.dice.u32(0..40),
            Mood::Picky => self.dice.u32(10..13),
            Mood::Throttled => 14,
            Mood::Ill => self.dice.u32(15..18),
            Mood::Denied => self.dice.u32(18..21),
            Mood::Lossy => self.dice.u32(24..36),
            Mood::Hanging => [0, 0, 36][self.dice.usize(0..3)],
            Mood::Missing(missing) if missing == stream => 21,
            Mood::Dead(dead) if dead == stream => 36,
            Mood::Missing(_) | Mood::Dead(_) => 0,
        };
        let lossy = self.mood == Mood::Lossy;
        let refused = |reply| Fate {
            reply,
            accepted: vec![false; records],
            charged: vec![false; records],
            truthful: true,
        };
        let blamed = |code| Fate {
            charged: vec![true; records],
            ..refused(Reply::refuse(400, code))
        };
        match lot {
            // Requests refused for what they contain charge their records.
            10..13 if !poisoned => {
                let often = [0.05, 0.3, 0.8][self.dice.usize(0..3)];
                let failed: Vec<_> = (0..records).map(|_| self.dice.f64() < often).collect();
                let code = |&failed: &bool| failed.then_some("InternalFailure");
                Fate {
                    reply: Reply::record_errors(failed.iter().map(code)),
                    accepted: failed.iter().map(|failed| !failed).collect(),
                    charged: failed,
                    truthful: true,
                }
            }
            13 => blamed("ValidationException"),
            21 => blamed("ResourceNotFoundException"),
            14 => refused(Reply::Throttle),
            15 => refused(Reply::Status(503)),
            16 => refused(Reply::refuse(500, "InternalFailure")),
            17 => refused(Reply::Status(500)),
            18 => refused(Reply::refuse(400, "AccessDeniedException")),
            19 => refused(Reply::refuse(400, "ExpiredTokenException")),
            20 => refused(Reply::refuse(400, "KMSThrottlingException")),
            22 => refused(Reply::Status(429)),
            23..37 => self.unanswered(lot, records, lossy, poisoned),
            _ if poisoned => blamed("InvalidArgumentException"),
            _ => Fate {
                accepted: vec![true; records],
                ..refused(Reply::Accept.delayed(Duration::from_millis(self.dice.u64(0..20))))
            },
        }
    }

    /// A reply that cannot be read. The records may be accepted all the same.
    fn unanswered(&mut self, lot: u32, records: usize, lossy: bool, poisoned: bool) -> Fate {
        let reply = match lot {
            23 | 24 => Reply::Reset,
            25 => Reply::Close,
            26 => Reply::Garbage,
            27 => Reply::NotHttp,
            28 | 29 => Reply::Truncated,
            30 => Reply::WrongCount(records + 1),
            31 => Reply::WrongCount(records - 1),
            32 => page(502, "<h1>502 Bad Gateway</h1>"),
            33 => page(407, "<h1>Who are you?</h1>"),
            34 => Reply::Status(302),
            35 => Reply::Throttle,
            _ => Reply::Hang,
        };
        let taken_in = !poisoned && (lossy || self.dice.bool());
        Fate {
            reply: match taken_in {
                true => reply.after_accepting(),
                false => reply,
            },
            accepted: vec![taken_in; records],
            charged: vec![false; records],
            truthful: false,
        }
    }
}

/// The child that sent the request, from its user agent.
fn incarnation(request: &PutRequest) -> usize {
    let agents = [&request.user_agent, &request.amz_user_agent];
    let mut words = agents.into_iter().flat_map(|agent| agent.split(' '));
    let number = words.find_map(|word| word.strip_prefix("app/i"));
    number.and_then(|number| number.parse().ok()).unwrap()
}
