//! What a process does with a store before the power loss.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fastrand::Rng;
use record_cache::{NewRecord, ReadLimits, Record, RecordId, RecordStore, Settlement, StreamName};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::marks::{Mark, Marks, Put, Seen};
use super::payload::{key_of, number_of, payload};
use super::stores::Subject;

/// All streams that the workloads use.
pub const STREAMS: &[&str] = &["s0", "s1", "s2"];

/// The kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workload {
    /// Several tasks append records, alone and in groups, and settle few.
    Tasks,
    /// Records of many sizes up to a megabyte.
    Large,
    /// Records come and go, and some must wait.
    Churn,
    /// Many records are appended, then all are settled, twice.
    Drain,
    /// One stream is settled, while the interleaved records of another stay.
    Stalled,
    /// Most records are settled, and those between them stay.
    Sieve,
    /// Many records are settled between two appends, which reuses space needed until a moment
    /// before.
    Turnover,
    /// The store is cleared while records are appended.
    Clear,
    /// The store is closed and reopened, again and again.
    Reopen,
    /// One step takes much more room than will be needed later, and the next open compacts.
    Hollow,
    /// The store is opened, used a little, and closed.
    Restart,
}

impl Workload {
    pub const EACH: &[Self] = &[
        Self::Tasks,
        Self::Large,
        Self::Churn,
        Self::Drain,
        Self::Stalled,
        Self::Sieve,
        Self::Turnover,
        Self::Clear,
        Self::Reopen,
        Self::Hollow,
        Self::Restart,
    ];
}

/// Where a workload runs, and on which store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setting {
    pub subject: Subject,
    pub place: PathBuf,
    pub marks: PathBuf,
    pub seed: u64,
    /// All records and calls so far have lower numbers.
    pub next_number: u64,
}

async fn open(setting: &Setting) -> Arc<dyn RecordStore> {
    setting.subject.open(&setting.place).await.unwrap()
}

/// Runs a workload to the end.
///
/// # Panics
/// When the store fails.
pub async fn run(workload: Workload, setting: Setting) {
    let mut rng = Rng::with_seed(setting.seed);
    let told = Arc::new(Told {
        marks: Marks::open(&setting.marks),
        next: AtomicU64::new(setting.next_number),
    });
    let store = open(&setting).await;
    let mut actor = Actor { store, told };
    match workload {
        Workload::Tasks => tasks(&actor, &mut rng).await,
        Workload::Large => large(&actor, &mut rng).await,
        Workload::Churn => churn(&actor, &mut rng).await,
        Workload::Drain => drain(&actor, &mut rng).await,
        Workload::Stalled => stalled(&actor, &mut rng).await,
        Workload::Sieve => sieve(&actor, &mut rng).await,
        Workload::Turnover => turnover(&actor, &mut rng).await,
        Workload::Clear => clear(&actor, &mut rng).await,
        Workload::Reopen => reopen(&mut actor, &setting, &mut rng).await,
        Workload::Hollow => hollow(&mut actor, &setting, &mut rng).await,
        Workload::Restart => restart(&actor, &mut rng).await,
    }
    actor.store.close().await.unwrap();
}

/// Uses a store and reports each step.
#[derive(Debug, Clone)]
struct Actor {
    store: Arc<dyn RecordStore>,
    told: Arc<Told>,
}

#[derive(Debug)]
struct Told {
    marks: Marks,
    next: AtomicU64,
}

/// The outcome for a record.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Delivered,
    Failed,
    Untried,
}

/// The outcomes for the records of a read.
#[derive(Debug, Clone, Copy)]
enum Verdicts {
    Delivered,
    /// Some are delivered, some get an attempt counted, some are left alone.
    Mixed,
}

impl Actor {
    /// Closes and reopens the store.
    async fn reopen(&mut self, setting: &Setting) {
        self.store.close().await.unwrap();
        self.store = open(setting).await;
    }

    fn number(&self) -> u64 {
        self.told.next.fetch_add(1, Ordering::Relaxed)
    }

    fn say(&self, mark: &Mark) {
        self.told.marks.say(mark);
    }

    /// Appends records with these streams and lengths in one call.
    async fn append(&self, records: &[(usize, usize)]) {
        let call = self.number();
        let mut puts = Vec::new();
        let mut new = Vec::new();
        for (stream, length) in records {
            let number = self.number();
            let data = payload(number, *length);
            let name = STREAMS[*stream];
            puts.push(Put {
                stream: name.to_owned(),
                number,
                length: data.len(),
            });
            let name = StreamName::new(name).unwrap();
            new.push(NewRecord::new(name, key_of(number), data));
        }
        let records = puts;
        self.say(&Mark::Append { call, records });
        self.store.append(new).await.unwrap();
        self.say(&Mark::Appended { call });
    }

    /// Settles the oldest records of a stream and returns how many there were.
    async fn settle(
        &self,
        stream: usize,
        records: usize,
        verdicts: Verdicts,
        rng: &mut Rng,
    ) -> usize {
        let read = self.read(stream, None, records).await;
        let verdict = |_| match verdicts {
            Verdicts::Delivered => Verdict::Delivered,
            Verdicts::Mixed => match rng.u8(..8) {
                0..5 => Verdict::Delivered,
                5..7 => Verdict::Failed,
                _ => Verdict::Untried,
            },
        };
        self.settle_read(stream, &read, verdict).await;
        read.len()
    }

    async fn read(&self, stream: usize, after: Option<RecordId>, records: usize) -> Vec<Record> {
        let name = StreamName::new(STREAMS[stream]).unwrap();
        let limits = ReadLimits::new(
            NonZeroUsize::new(records).unwrap(),
            NonZeroU64::new(8 << 20).unwrap(),
        );
        self.store
            .oldest(&name, after, limits)
            .await
            .unwrap()
            .records
    }

    async fn settle_read(
        &self,
        stream: usize,
        read: &[Record],
        mut verdict: impl FnMut(u64) -> Verdict,
    ) {
        let mut step = Settlement::new(StreamName::new(STREAMS[stream]).unwrap());
        let (mut delete, mut count) = (Vec::new(), Vec::new());
        for record in read {
            let number = number_of(&record.data).unwrap();
            let id = record.id.get();
            let seen = Seen { number, id };
            match verdict(number) {
                Verdict::Delivered => {
                    step.delete.push(record.id);
                    delete.push(seen);
                }
                Verdict::Failed => {
                    step.count_attempt.push(record.id);
                    count.push(seen);
                }
                Verdict::Untried => {}
            }
        }
        if !step.is_empty() {
            let call = self.number();
            self.say(&Mark::Settle {
                call,
                delete,
                count,
            });
            self.store.settle(step).await.unwrap();
            self.say(&Mark::Settled { call });
        }
    }

    async fn clear(&self) {
        let call = self.number();
        self.say(&Mark::Clear { call });
        self.store.clear().await.unwrap();
        self.say(&Mark::Cleared { call });
    }
}

async fn tasks(actor: &Actor, rng: &mut Rng) {
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (actor, mut rng) = (actor.clone(), rng.fork());
        tasks.spawn(async move {
            for _ in 0..30 {
                let group = [1, 1, 2, 5][rng.usize(..4)];
                let records: Vec<_> = (0..group)
                    .map(|_| (rng.usize(..3), small(&mut rng)))
                    .collect();
                actor.append(&records).await;
            }
        });
    }
    tasks.join_all().await;
    for stream in 0..2 {
        actor.settle(stream, 7, Verdicts::Mixed, rng).await;
    }
}

async fn large(actor: &Actor, rng: &mut Rng) {
    for round in 0..10 {
        let length = rng.usize(6_000..100_000);
        actor.append(&[(0, length)]).await;
        actor
            .append(&[(1, small(rng)), (1, length / 3), (0, small(rng))])
            .await;
        if round % 4 == 1 {
            actor.append(&[(2, 1 << 20)]).await;
            actor.settle(0, 3, Verdicts::Mixed, rng).await;
            actor.settle(2, 1, Verdicts::Delivered, rng).await;
        }
    }
}

async fn churn(actor: &Actor, rng: &mut Rng) {
    let over = Arc::new(AtomicBool::new(false));
    let mut producers = JoinSet::new();
    for stream in 0..2 {
        let (actor, mut rng) = (actor.clone(), rng.fork());
        producers.spawn(async move {
            for _ in 0..150 {
                let length = rng.usize(500..16_000);
                actor
                    .append(&[(stream, length), (stream, small(&mut rng))])
                    .await;
            }
        });
    }
    let consumer = {
        let (actor, mut rng) = (actor.clone(), rng.fork());
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                for stream in 0..2 {
                    actor.settle(stream, 40, Verdicts::Mixed, &mut rng).await;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    producers.join_all().await;
    over.store(true, Ordering::Relaxed);
    consumer.await.unwrap();
    // A fast consumer has left nothing.
    actor.append(&[(2, small(rng))]).await;
}

async fn drain(actor: &Actor, rng: &mut Rng) {
    for _ in 0..2 {
        for _ in 0..60 {
            let records: Vec<_> = (0..10)
                .map(|_| (rng.usize(..2), rng.usize(1_000..4_000)))
                .collect();
            actor.append(&records).await;
        }
        for stream in 0..2 {
            while actor.settle(stream, 40, Verdicts::Delivered, rng).await > 0 {}
        }
    }
    actor.append(&[(0, small(rng)), (1, small(rng))]).await;
}

async fn stalled(actor: &Actor, rng: &mut Rng) {
    for round in 0..90 {
        let mut records: Vec<_> = (0..8).map(|_| (0, rng.usize(1_000..4_000))).collect();
        if round % 3 == 0 {
            records.push((1, rng.usize(500..5_000)));
        }
        actor.append(&records).await;
    }
    while actor.settle(0, 12, Verdicts::Delivered, rng).await > 0 {}
    for _ in 0..5 {
        actor.append(&[(0, small(rng)), (2, small(rng))]).await;
    }
}

async fn sieve(actor: &Actor, rng: &mut Rng) {
    for _ in 0..50 {
        let records: Vec<_> = (0..8).map(|_| (0, rng.usize(3_500..6_000))).collect();
        actor.append(&records).await;
    }
    for mesh in [9, 18] {
        let mut after = None;
        loop {
            let read = actor.read(0, after, 25).await;
            let Some(last) = read.last() else {
                break;
            };
            after = Some(last.id);
            let verdict = |number| match number % mesh {
                2 => Verdict::Failed,
                _ => Verdict::Delivered,
            };
            actor.settle_read(0, &read, verdict).await;
        }
    }
    actor.append(&[(0, small(rng)), (1, small(rng))]).await;
}

async fn turnover(actor: &Actor, rng: &mut Rng) {
    const CROWDS: usize = 12;
    const CROWD: usize = 240;
    const STEPS: usize = 300;
    // Long runs of small records, whose attempts take more room than the records.
    for _ in 0..CROWDS {
        actor.append(&[(1, 16); CROWD]).await;
    }
    let crowds = actor.read(1, None, CROWDS * CROWD).await;
    let every_other = |number| match number % 2 {
        0 => Verdict::Failed,
        _ => Verdict::Untried,
    };
    actor.settle_read(1, &crowds, every_other).await;
    for _ in 0..8 {
        let group: Vec<_> = (0..5).map(|_| (0, rng.usize(500..1_500))).collect();
        actor.append(&group).await;
    }
    for step in 0..STEPS {
        if step % 10 == 0 {
            actor.settle(0, 3, Verdicts::Delivered, rng).await;
        }
        let one_each: Vec<Record> = crowds
            .chunks(CROWD)
            .map(|crowd| crowd[rng.usize(..CROWD)].clone())
            .collect();
        let fails = |_| Verdict::Failed;
        actor.settle_read(1, &one_each, fails).await;
    }
    actor.append(&[(0, small(rng)), (1, small(rng))]).await;
}

async fn clear(actor: &Actor, rng: &mut Rng) {
    for _ in 0..4 {
        let mut tasks = JoinSet::new();
        for stream in 0..2 {
            let (actor, mut rng) = (actor.clone(), rng.fork());
            tasks.spawn(async move {
                for _ in 0..12 {
                    actor.append(&[(stream, small(&mut rng)), (2, 300)]).await;
                }
                actor.settle(stream, 5, Verdicts::Mixed, &mut rng).await;
            });
        }
        actor.append(&[(2, 20_000)]).await;
        actor.clear().await;
        tasks.join_all().await;
    }
    actor.clear().await;
    actor.append(&[(0, small(rng))]).await;
}

async fn reopen(actor: &mut Actor, setting: &Setting, rng: &mut Rng) {
    for round in 0..8 {
        for _ in 0..6 {
            let length = [small(rng), rng.usize(4_000..30_000)][rng.usize(..2)];
            actor
                .append(&[(rng.usize(..3), length), (0, small(rng))])
                .await;
        }
        if round % 2 == 1 {
            actor.settle(0, 9, Verdicts::Mixed, rng).await;
        }
        actor.reopen(setting).await;
    }
}

async fn hollow(actor: &mut Actor, setting: &Setting, rng: &mut Rng) {
    actor.append(&[(0, small(rng)), (1, small(rng))]).await;
    actor.append(&[(2, 2_500_000)]).await;
    actor.reopen(setting).await;
    for _ in 0..2 {
        actor.append(&[(0, small(rng))]).await;
        actor.reopen(setting).await;
    }
}

async fn restart(actor: &Actor, rng: &mut Rng) {
    for _ in 0..6 {
        actor
            .append(&[(rng.usize(..3), small(rng)), (0, small(rng))])
            .await;
    }
    actor.settle(0, 4, Verdicts::Mixed, rng).await;
    actor.append(&[(1, 12_000)]).await;
}

fn small(rng: &mut Rng) -> usize {
    rng.usize(20..4_000)
}
