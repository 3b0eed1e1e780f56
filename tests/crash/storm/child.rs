//! The process that records and delivers until it is killed.

use std::io::stdin;
use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::{DiscardedRecord, Durability, FlushStrategy, OverflowPolicy, SdkConfig};
use amplify_test_support::{PutRecord, Service};
use aws_config::AppName;
use aws_config::retry::RetryConfig;
use fastrand::Rng;
use tokio::sync::{RwLock, mpsc};
use tokio::task::JoinSet;

use super::director::{After, Director};
use super::lanes::{flush_now_and_then, write};
use super::patience;
use super::payload::{Id, Lane};
use super::told::{ClientSettings, Orders, Task, Timer, Told, Word};
use integration_tests::{Case, Client, Failure, Kind, Setup};

/// Carries out the orders.
pub async fn run(orders: Orders) {
    // Ends the line that the test runner started.
    println!();
    let timeout = Duration::from_millis(orders.settings.request_timeout_millis);
    patience::watch(timeout);
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
            // Count what the last child left before doing anything else.
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
    // Nothing is in progress: the last pause waited for everything.
    for client in &stage.read().await.clients {
        check("close", client.close().await);
    }
    Told::Ended.say();
}

/// State shared by all tasks. Tasks use the clients under the read lock. Under the write lock, no
/// task does.
pub struct Stage {
    pub clients: [Client; 2],
    pub dropping: bool,
}

pub async fn open(orders: &Orders, service: Service) -> Client {
    open_with(orders, service, orders.settings.timer).await
}

/// Opens a client with this timer instead of the one in the orders.
pub async fn open_with(orders: &Orders, service: Service, timer: Timer) -> Client {
    let ClientSettings {
        survives_power_loss,
        timer: _,
        max_in_flight_per_stream,
        request_timeout_millis,
        max_concurrent_streams,
        max_retries,
        cache_max_bytes,
        sdk_attempts,
        drops_oldest,
        shares_records,
        max_record_age_millis,
    } = orders.settings;
    let sdk_config = SdkConfig::builder()
        .retry_config(RetryConfig::standard().with_max_attempts(sdk_attempts))
        .app_name(AppName::new(format!("i{}", orders.incarnation)).unwrap())
        .build();
    let seed = orders.seed;
    let durability = match survives_power_loss {
        true => Durability::PowerLoss,
        false => Durability::ProcessCrash,
    };
    let path = orders.directory.join(format!("{service:?}"));
    let case = Case::new(service, orders.store);
    let mut setup = Setup::of_endpoint(case, orders.endpoint.clone());
    if shares_records {
        setup = setup.sharing_records();
    }
    setup
        .at(&path)
        .sdk_config(sdk_config)
        .durability(durability)
        .flush_strategy(match timer {
            Timer::Never => FlushStrategy::None,
            Timer::Millis(millis) => FlushStrategy::Interval(Duration::from_millis(millis)),
            Timer::Adaptive { millis, records } => FlushStrategy::Adaptive {
                max_delay: Duration::from_millis(millis),
                max_records: records,
                max_bytes: 1 << 20,
            },
        })
        .max_in_flight_per_stream(max_in_flight_per_stream)
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
        explicit_hash_key: record.explicit_hash_key.map(|key| key.to_string()),
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

/// Reports an error that no scripted fault explains.
pub fn check<T>(what: &str, result: Result<T, Failure>) {
    if let Err(error) = result
        // A request may get no answer, and a client may be closed in the middle of one.
        && !matches!(error.kind, Kind::Unknown | Kind::ClientClosed)
    {
        Told::Wrong(format!("{what}: {error:?}")).say();
    }
}
