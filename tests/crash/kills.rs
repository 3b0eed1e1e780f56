//! A process that records and delivers is killed with SIGKILL again and again. Everything it
//! acknowledged is delivered in order, and nothing else is.
//!
//! `CRASH_KILLS` sets the number of kills per client, and `CRASH_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amplify_kinesis::Durability;
use amplify_test_support::{Reply, payload};
use integration_tests::{
    Case, Client, Endpoint, Events, Kind, Service, Setup, StoreKind, child, number_in, role,
};

const STREAMS: [&str; 3] = ["stream-a", "stream-b", "stream-c"];
const KILLS: usize = 10;
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kinesis_client_loses_nothing() {
    let test = "a_killed_kinesis_client_loses_nothing";
    let case = Case::new(Service::Kinesis, StoreKind::Sled);
    run(case, Events::Alone, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_firehose_client_loses_nothing() {
    let test = "a_killed_firehose_client_loses_nothing";
    let case = Case::new(Service::Firehose, StoreKind::Sled);
    run(case, Events::Alone, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kinesis_client_with_a_journal_loses_nothing() {
    let test = "a_killed_kinesis_client_with_a_journal_loses_nothing";
    let case = Case::new(Service::Kinesis, StoreKind::Journal);
    run(case, Events::Alone, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_firehose_client_with_a_journal_loses_nothing() {
    let test = "a_killed_firehose_client_with_a_journal_loses_nothing";
    let case = Case::new(Service::Firehose, StoreKind::Journal);
    run(case, Events::Alone, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kinesis_client_whose_events_share_records_loses_nothing() {
    let test = "a_killed_kinesis_client_whose_events_share_records_loses_nothing";
    let case = Case::new(Service::Kinesis, StoreKind::Sled);
    run(case, Events::Sharing, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_firehose_client_whose_events_share_records_loses_nothing() {
    let test = "a_killed_firehose_client_whose_events_share_records_loses_nothing";
    let case = Case::new(Service::Firehose, StoreKind::Sled);
    run(case, Events::Sharing, test).await;
}

async fn run(case: Case, events: Events, test: &str) {
    match role() {
        Some(role) => record_until_killed(case, events, &role).await,
        None => kill_and_restart(case, events, test).await,
    }
}

fn payload(stream: &str, number: usize) -> Vec<u8> {
    let length = match number % 50 {
        0 => 40_000,
        _ => number * 37 % 400,
    };
    payload::payload(0, stream, number as u64, length)
}

// ---- the child

async fn record_until_killed(case: Case, events: Events, role: &str) {
    let mut role = role.split('|');
    let mut next = || role.next().unwrap();
    let (path, endpoint, durability) = (next(), next(), next());
    let durability = match durability {
        "PowerLoss" => Durability::PowerLoss,
        _ => Durability::ProcessCrash,
    };
    let setup = Setup::of_endpoint(case, endpoint.to_owned()).durability(durability);
    let setup = setup
        .flush_every(Duration::from_millis(3))
        .at(Path::new(path));
    let client = events.set(setup).build().await;
    // Ends the line that the test runner started.
    println!();
    let writers = STREAMS.map(|stream| {
        let first: usize = next().parse().unwrap();
        tokio::spawn(write(client.clone(), stream, first))
    });
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write(client: Client, stream: &'static str, first: usize) {
    for number in first.. {
        loop {
            match client.record(stream, payload(stream, number)).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind, Kind::LimitExceeded, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("acknowledged {stream} {number}");
    }
}

// ---- the parent

async fn kill_and_restart(case: Case, events: Events, test: &str) {
    let seed = number_in("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = number_in("CRASH_KILLS").map_or(KILLS, |kills| usize::try_from(kills).unwrap());
    eprintln!("CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let aws = Endpoint::start();
    let requests = AtomicUsize::new(0);
    aws.always(
        move |_| match requests.fetch_add(1, Ordering::Relaxed) % 13 {
            3 => Reply::Throttle,
            7 => Reply::Reset.after_accepting(),
            11 => Reply::Accept.delayed(Duration::from_millis(30)),
            _ => Reply::Accept.delayed(Duration::from_millis(3)),
        },
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");

    let mut acknowledged: BTreeMap<&str, BTreeSet<usize>> =
        STREAMS.map(|stream| (stream, BTreeSet::new())).into();
    // Records that were being stored at a kill. They may be there or not.
    let mut untold: HashSet<(&str, usize)> = HashSet::new();
    let mut next = STREAMS.map(|stream| (stream, 0));
    for kill in 0..kills {
        let durability = ["PowerLoss", "ProcessCrash"][kill % 2];
        let firsts = next.map(|(_, first)| first.to_string()).join("|");
        let role = format!(
            "{}|{}|{durability}|{firsts}",
            path.to_str().unwrap(),
            aws.endpoint_url()
        );
        let mut process = child(test, &role).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let enough = random.usize(0..600);
        // Reading blocks, and the endpoint runs on its own thread.
        let told = tokio::task::block_in_place(|| {
            let mut told = hear(&mut said, enough);
            process.kill().unwrap();
            process.wait().unwrap();
            told.extend(hear(&mut said, usize::MAX));
            told
        });
        assert!(
            told.len() >= enough,
            "seed {seed}: the child ended by itself: {told:?}"
        );
        for (stream, number) in told {
            let stream = STREAMS.into_iter().find(|&name| name == stream).unwrap();
            assert!(
                acknowledged.get_mut(stream).unwrap().insert(number),
                "seed {seed}"
            );
        }
        for (stream, next) in &mut next {
            let last = acknowledged[stream].last().copied();
            // The process was recording the number after the last acknowledged one, or a later one
            // after an earlier kill.
            *next = last.map_or(*next, |last| (*next).max(last + 1));
            untold.insert((stream, *next));
            *next += 1;
        }
    }

    aws.clear_script();
    let setup = Setup::new(case, &aws).at(&path);
    let client = events.set(setup).build().await;
    client.drain(LONG).await.unwrap();
    assert_eq!(client.cached(), 0);
    client.close().await.unwrap();

    for (stream, acknowledged) in acknowledged {
        assert!(!acknowledged.is_empty());
        let mut seen = HashSet::new();
        let mut first_times = Vec::new();
        for delivered in events.within(case.service, aws.delivered(stream)) {
            let (_, number) = payload::named_in(&delivered.data).unwrap();
            let number = usize::try_from(number).unwrap();
            assert!(
                delivered.data == payload(stream, number),
                "seed {seed}: {stream} {number} differs"
            );
            if seen.insert(number) {
                first_times.push(number);
            }
        }
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|number| !seen.contains(number))
            .collect();
        assert!(lost.is_empty(), "seed {seed}: {stream} lost {lost:?}");
        let invented = |number: &&usize| {
            !acknowledged.contains(number) && !untold.contains(&(stream, **number))
        };
        let invented: Vec<_> = first_times.iter().filter(invented).collect();
        assert!(
            invented.is_empty(),
            "seed {seed}: {stream} has {invented:?} from nowhere"
        );
        assert!(
            first_times.is_sorted(),
            "seed {seed}: {stream} is out of order: {first_times:?}"
        );
    }
}

/// Reads acknowledgements until there are `enough`, or to the end.
fn hear(said: &mut BufReader<ChildStdout>, enough: usize) -> Vec<(String, usize)> {
    let mut told = Vec::new();
    let mut line = String::new();
    while told.len() < enough && said.read_line(&mut line).unwrap() > 0 {
        // A line cut off by the kill does not count.
        let words = line
            .strip_suffix('\n')
            .map(|line| line.split(' ').collect::<Vec<_>>());
        if let Some(["acknowledged", stream, number]) = words.as_deref() {
            told.push(((*stream).to_owned(), number.parse().unwrap()));
        }
        line.clear();
    }
    told
}
