//! The process that records and delivers until it is killed.

use std::collections::HashMap;
use std::io::stdin;
use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::{DiscardedRecord, Durability, FlushStrategy, OverflowPolicy, SdkConfig};
use aws_config::AppName;
use aws_config::retry::RetryConfig;
use fastrand::Rng;
use integration_tests::{PutRecord, Service};
use tokio::sync::{RwLock, RwLockReadGuard, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::payload::{Id, Lane, STREAMS, stream};
use super::told::{ClientSettings, Group, Orders, Side, StoreKind, Task, Told, Word};
use crate::common::{Case, Client, Failure, Kind, Place, Setup};

/// Does what it is ordered to.
pub async fn run(orders: Orders) {
    // Ends the line that the test runner has begun.
    println!();
    let (words_in, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdin().read_line(&mut line).is_ok_and(|length| length > 0) {
            let word = match line.as_str() {
                "end\n" => Word::End,
                _ => Word::GoOn,
            };
            if words_in.send(word).is_err() {
                return;
            }
            line.clear();
        }
    });
    let clients = [
        open(&orders, Service::Kinesis).await,
        open(&orders, Service::Firehose).await,
    ];
    let orders = Arc::new(orders);
    let stage = Arc::new(RwLock::new(Stage {
        clients,
        dropping: false,
    }));
    let mut director = Director {
        dice: Rng::with_seed(orders.seed ^ orders.incarnation as u64),
        orders: Arc::clone(&orders),
        stage: Arc::clone(&stage),
        words,
        ends: false,
    };
    match orders.task {
        Task::Finish => director.finish().await,
        Task::Everything | Task::RecordAndDeliver => {
            // Before anything else, what the last one left is counted.
            director.quiet(After::GoOn).await;
            let mut lanes = JoinSet::new();
            for lane in Lane::all() {
                lanes.spawn(write(lane, Arc::clone(&stage), Arc::clone(&orders)));
            }
            lanes.spawn(flush_now_and_then(Arc::clone(&stage), Arc::clone(&orders)));
            director.direct().await;
            let _all_stop = stage.write().await;
            lanes.shutdown().await;
        }
    }
    // Whatever was under way has ended: the last pause waited for it.
    for client in &stage.read().await.clients {
        check("close", client.close().await);
    }
    Told::Ended.say();
}

/// What all tasks share. Whoever holds it for reading uses the clients; for writing, nobody does.
struct Stage {
    clients: [Client; 2],
    dropping: bool,
}

impl Stage {
    fn client(&self, service: Service) -> &Client {
        &self.clients[place(service)]
    }
}

fn place(service: Service) -> usize {
    match service {
        Service::Kinesis => 0,
        Service::Firehose => 1,
    }
}

const SERVICES: [(Service, Side); 2] = [
    (Service::Kinesis, Side::Kinesis),
    (Service::Firehose, Side::Firehose),
];

async fn open(orders: &Orders, service: Service) -> Client {
    let ClientSettings {
        survives_power_loss,
        interval_millis,
        request_timeout_millis,
        max_concurrent_streams,
        max_retries,
        cache_max_bytes,
        sdk_attempts,
        drops_oldest,
        max_record_age_millis,
    } = orders.settings;
    let sdk_config = SdkConfig::builder()
        .retry_config(RetryConfig::standard().with_max_attempts(sdk_attempts))
        .app_name(AppName::new(format!("i{}", orders.incarnation)).unwrap())
        .build();
    let seed = orders.seed;
    let case = Case {
        service,
        place: Place::Disk,
    };
    let durability = match survives_power_loss {
        true => Durability::PowerLoss,
        false => Durability::ProcessCrash,
    };
    let path = orders.directory.join(format!("{service:?}"));
    let setup = Setup::of_endpoint(case, orders.endpoint.clone());
    let setup = match orders.store {
        StoreKind::Sled => setup.storage_path(&path),
        #[cfg(feature = "journal")]
        StoreKind::Journal => {
            let builder = record_cache::JournalStore::builder(path)
                .durability(durability)
                .expected_bytes(cache_max_bytes);
            setup.store(Arc::new(builder.open().await.unwrap()))
        }
    };
    setup
        .sdk_config(sdk_config)
        .durability(durability)
        .flush_strategy(match interval_millis {
            Some(millis) => FlushStrategy::Interval(Duration::from_millis(millis)),
            None => FlushStrategy::None,
        })
        .request_timeout(Duration::from_millis(request_timeout_millis))
        .max_concurrent_streams(max_concurrent_streams)
        .max_retries(max_retries)
        .cache_max_bytes(cache_max_bytes)
        .overflow_policy(match drops_oldest {
            true => OverflowPolicy::DropOldest,
            false => OverflowPolicy::Reject,
        })
        .max_record_age(max_record_age_millis.map(Duration::from_millis))
        .on_discard(move |record| discarded(record, seed))
        .build()
        .await
}

fn discarded(record: DiscardedRecord, seed: u64) {
    let Some(Id { lane, number }) = Id::named_in(&record.data) else {
        return Told::Wrong("a record was discarded that nobody recorded".to_owned()).say();
    };
    let as_sent = PutRecord {
        data: record.data,
        partition_key: record.partition_key,
    };
    Told::Discarded {
        lane,
        number,
        attempts: record.attempts,
        reason: format!("{:?}", record.reason),
        whole: Id::of_whole(&as_sent, seed).is_ok() && record.stream_name == lane.stream(),
    }
    .say();
}

/// Tells an error that no scripted fault explains.
fn check<T>(what: &str, result: Result<T, Failure>) {
    if let Err(error) = result
        // A request may be without an answer, and a client may be closed in the midst of it.
        && !matches!(error.kind, Kind::Unknown | Kind::ClientClosed)
    {
        Told::Wrong(format!("{what}: {error:?}")).say();
    }
}

// ---- the lanes

async fn write(lane: Lane, stage: Arc<RwLock<Stage>>, orders: Arc<Orders>) {
    let mut dice = Rng::with_seed(orders.seed ^ (orders.incarnation << 8 | lane.0) as u64);
    let mut number = orders.next[lane.0];
    // Some lanes are busy and some are not, and so are whole processes.
    let pause = dice.u64(0..60);
    loop {
        let count = match dice.u32(0..10) {
            0 => dice.u32(1..80),
            _ => dice.u32(1..4),
        };
        let group = Group {
            lane,
            first: number,
            count,
        };
        let on_stage = stage.read().await;
        let told = record(&on_stage, group, &orders, &mut dice).await;
        // While it still holds off a pause, which is told afterwards.
        told.say();
        drop(on_stage);
        number += count;
        let refused = matches!(told, Told::Refused(_));
        sleep(Duration::from_millis(match refused {
            true => dice.u64(20..200),
            false => dice.u64(0..=pause),
        }))
        .await;
    }
}

async fn record(stage: &Stage, group: Group, orders: &Orders, dice: &mut Rng) -> Told {
    let client = stage.client(group.lane.service());
    let ids = (group.first..group.first + group.count).map(|number| Id {
        lane: group.lane,
        number,
    });
    let stream = group.lane.stream();
    let mut records: Vec<_> = ids.map(|id| (id.key(), id.data(orders.seed))).collect();
    let leaves = orders.task == Task::Everything && dice.u32(0..200) == 0;
    Told::Begun(group).say();
    let recording = async {
        match records.pop() {
            Some((key, data)) if records.is_empty() => {
                client.record_keyed(&stream, &key, data).await
            }
            last => {
                records.extend(last);
                let keyed: Vec<_> = records
                    .iter()
                    .map(|(key, data)| (&*stream, &**key, data.clone()))
                    .collect();
                client.record_all_keyed(keyed).await
            }
        }
    };
    let recorded = if leaves {
        let patience = Duration::from_micros(dice.u64(0..2000));
        match timeout(patience, recording).await {
            Ok(recorded) => recorded,
            Err(_) => return Told::Left(group),
        }
    } else {
        recording.await
    };
    match recorded {
        Ok(_) if stage.dropping => Told::Dropped(group),
        Ok(_) => Told::Stored(group),
        Err(error) if matches!(error.kind, Kind::LimitExceeded | Kind::ClientClosed) => {
            Told::Refused(group)
        }
        Err(error) => Told::Wrong(format!("record: {error:?}")),
    }
}

/// Flushes beside the timer, and sometimes does not wait for the end.
async fn flush_now_and_then(stage: Arc<RwLock<Stage>>, orders: Arc<Orders>) {
    let mut dice = Rng::with_seed(orders.seed ^ (orders.incarnation << 8 | 255) as u64);
    loop {
        sleep(Duration::from_millis(dice.u64(0..400))).await;
        let stage: RwLockReadGuard<'_, Stage> = stage.read().await;
        let client = &stage.clients[dice.usize(0..2)];
        let patience = Duration::from_millis(dice.u64(0..300));
        match dice.u32(0..3) {
            0 => check("flush", client.flush().await),
            1 => drop(timeout(patience, client.flush()).await),
            _ => drop(timeout(patience, client.drain(patience * 2)).await),
        }
    }
}

// ---- the director

struct Director {
    orders: Arc<Orders>,
    stage: Arc<RwLock<Stage>>,
    words: mpsc::UnboundedReceiver<Word>,
    dice: Rng,
    ends: bool,
}

/// What a pause ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Clear,
    Reopen,
}

impl Director {
    async fn direct(&mut self) {
        while !self.ends {
            let pause = Duration::from_millis(self.dice.u64(0..300));
            match timeout(pause, self.words.recv()).await {
                Ok(Some(Word::End) | None) => self.ends = true,
                Ok(Some(Word::GoOn)) | Err(_) => {}
            }
            if self.orders.task == Task::RecordAndDeliver {
                continue;
            }
            let side = self.dice.usize(0..2);
            match self.dice.u32(0..16) {
                0..4 => self.quiet(After::GoOn).await,
                4 | 5 => self.quiet(After::Clear).await,
                6 => self.quiet(After::Reopen).await,
                7 => self.drop_for_a_while().await,
                8 => self.clear_in_the_midst(SERVICES[side]).await,
                9..11 => self.reopen_in_the_midst(SERVICES[side].0).await,
                11..14 => {
                    let deadline = Duration::from_millis(self.dice.u64(0..1500));
                    let stage = self.stage.read().await;
                    check("drain", stage.clients[side].drain(deadline).await);
                }
                _ => self.switch_on_and_off(side).await,
            }
        }
        self.quiet(After::GoOn).await;
    }

    /// Holds everybody up until nothing is under way, tells the counts, and waits for a word.
    async fn quiet(&mut self, after: After) {
        let mut stage = self.stage.write().await;
        for ((_, side), client) in SERVICES.iter().zip(&stage.clients) {
            rest(client).await;
            let cached = cached(client);
            Told::Quiet {
                side: *side,
                cached,
            }
            .say();
            match self.words.recv().await {
                Some(Word::GoOn) => {}
                Some(Word::End) => {
                    self.ends = true;
                    let _ = self.words.recv().await;
                }
                None => self.ends = true,
            }
        }
        for (index, (service, side)) in SERVICES.into_iter().enumerate() {
            match after {
                After::GoOn => {}
                After::Clear => clear(&stage.clients[index], side, true).await,
                After::Reopen => {
                    let before = cached(&stage.clients[index]);
                    check("close", stage.clients[index].close().await);
                    stage.clients[index] = open(&self.orders, service).await;
                    let now = cached(&stage.clients[index]);
                    // A record whose future was dropped may have come in late.
                    if now.iter().zip(before).any(|(now, before)| *now < before) {
                        Told::Wrong(format!("{before:?} were cached, after closing {now:?}")).say();
                    }
                }
            }
            stage.clients[index].enable();
        }
    }

    async fn drop_for_a_while(&mut self) {
        let dropping = async |dropping: bool| {
            let mut stage = self.stage.write().await;
            stage.dropping = dropping;
            for client in &stage.clients {
                if dropping {
                    client.disable();
                } else {
                    client.enable();
                }
            }
        };
        dropping(true).await;
        sleep(Duration::from_millis(self.dice.u64(0..100))).await;
        dropping(false).await;
    }

    async fn clear_in_the_midst(&mut self, (service, side): (Service, Side)) {
        let stage = self.stage.read().await;
        clear(stage.client(service), side, false).await;
    }

    async fn reopen_in_the_midst(&mut self, service: Service) {
        let closing = self.stage.read().await.client(service).clone();
        check("close", closing.close().await);
        let mut stage = self.stage.write().await;
        stage.clients[place(service)] = open(&self.orders, service).await;
    }

    /// The timer has to survive that; nobody records meanwhile, since it would be dropped.
    async fn switch_on_and_off(&mut self, side: usize) {
        let stage = self.stage.write().await;
        for _ in 0..self.dice.u32(1..5) {
            stage.clients[side].disable();
            tokio::task::yield_now().await;
            stage.clients[side].enable();
        }
    }

    async fn finish(&mut self) {
        let stage = Arc::clone(&self.stage);
        loop {
            let mut left = 0;
            for client in &stage.read().await.clients {
                // Does not spare streams that fail, as a drain does.
                check("flush", client.flush().await);
                left += client.cached();
            }
            if left == 0 {
                break;
            }
        }
        self.quiet(After::GoOn).await;
    }
}

/// Waits until no pass runs and none will.
async fn rest(client: &Client) {
    client.disable();
    loop {
        match client.flush().await {
            Ok(flushed) if flushed.flush_in_progress => sleep(Duration::from_millis(2)).await,
            other => return check("flush", other),
        }
    }
}

async fn clear(client: &Client, side: Side, at_rest: bool) {
    Told::Clearing { side, at_rest }.say();
    match client.clear_cache().await {
        Ok(cleared) => {
            let records = cleared.records_cleared;
            Told::Cleared { side, records }.say();
        }
        Err(error) => Told::Wrong(format!("clear_cache: {error:?}")).say(),
    }
}

fn cached(client: &Client) -> [usize; STREAMS] {
    let streams = client.cache_stats().streams.into_iter();
    let cached: HashMap<_, _> = streams.map(|s| (s.stream_name, s.records)).collect();
    std::array::from_fn(|number| cached.get(&stream(number)).copied().unwrap_or(0))
}
