//! Files of the cache that are overwritten, truncated or deleted, while no client is open and while
//! one is. Damaged events are counted and never sent, all others arrive in order, and the client
//! goes on, whether or not events share records.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::{Durability, RecordStore};
use amplify_test_support::payload;
use integration_tests::{Case, Client, Endpoint, Events, Service, Setup};

integration_tests::cases! {
    on_disk_and_in_a_journal:
        events_in_a_damaged_file_are_lost_and_no_others,
        events_in_a_file_damaged_in_use_are_lost_and_no_others,
        events_that_share_records_are_lost_with_a_damaged_file_and_no_others,
        events_that_share_records_are_lost_with_a_file_damaged_in_use_and_no_others;
}

const STREAM: &str = "stream";
const RECORDED: usize = 300;
const LONG: Duration = Duration::from_secs(30);

async fn events_in_a_damaged_file_are_lost_and_no_others(case: Case) {
    for harm in Harm::EACH {
        damage_after_a_close(case, harm, Events::Alone).await;
    }
}

async fn events_in_a_file_damaged_in_use_are_lost_and_no_others(case: Case) {
    for harm in Harm::EACH {
        damage_in_use(case, harm, Events::Alone).await;
    }
}

async fn events_that_share_records_are_lost_with_a_damaged_file_and_no_others(case: Case) {
    for harm in Harm::EACH {
        damage_after_a_close(case, harm, Events::Sharing).await;
    }
}

async fn events_that_share_records_are_lost_with_a_file_damaged_in_use_and_no_others(case: Case) {
    for harm in Harm::EACH {
        damage_in_use(case, harm, Events::Sharing).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Overwritten,
    Truncated,
    Deleted,
}

impl Harm {
    const EACH: [Self; 3] = [Self::Overwritten, Self::Truncated, Self::Deleted];

    /// Damages the file, and returns which events were in the damaged part.
    fn is_done_to(self, segment: &Path) -> Range<usize> {
        let place_of = |number| {
            let (file, data) = (fs::read(segment).unwrap(), data(number));
            let mut windows = file.windows(data.len());
            windows.position(|window| window == data).unwrap()
        };
        let mut file = OpenOptions::new().write(true).open(segment).unwrap();
        match self {
            Self::Overwritten => {
                let (from, to) = (place_of(100), place_of(140));
                file.seek(SeekFrom::Start(from as u64)).unwrap();
                file.write_all(&vec![0x5a; to + 1 - from]).unwrap();
                100..141
            }
            Self::Truncated => {
                file.set_len(place_of(200) as u64).unwrap();
                200..RECORDED
            }
            Self::Deleted => {
                fs::remove_file(segment).unwrap();
                0..RECORDED
            }
        }
    }
}

fn data(number: usize) -> Vec<u8> {
    payload::payload(0, "event", number as u64, 30 + number * 37 % 400)
}

fn key(number: usize) -> String {
    format!("key-{}", number % 7)
}

async fn record(client: &Client, numbers: Range<usize>) {
    for number in numbers {
        client.keep(STREAM, &key(number), data(number)).await;
    }
}

/// A client, and the store in this directory that it uses.
async fn open(
    case: Case,
    aws: &Endpoint,
    path: &Path,
    events: Events,
) -> (Client, Arc<dyn RecordStore>) {
    let opened = case.store.open(path, Durability::PowerLoss, 1 << 20).await;
    let store = opened.unwrap();
    let setup = Setup::new(case, aws).store(Arc::clone(&store));
    (events.set(setup).build().await, store)
}

/// The file with all records.
fn segment(path: &Path) -> PathBuf {
    let entries = fs::read_dir(path).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|end| end == "journal"));
    let mut segments: Vec<_> = segments.collect();
    assert_eq!(segments.len(), 1, "{segments:?}");
    segments.remove(0)
}

async fn damage_after_a_close(case: Case, harm: Harm, events: Events) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let (client, _) = open(case, &aws, directory.path(), events).await;
    record(&client, 0..RECORDED).await;
    client.close().await.unwrap();

    let lost = harm.is_done_to(&segment(directory.path()));
    let (client, store) = open(case, &aws, directory.path(), events).await;
    goes_on(case, events, &aws, &client, lost.clone()).await;
    assert_eq!(store.stats().damaged_records, lost.len() as u64, "{harm:?}");
    client.close().await.unwrap();
    is_empty(case, &aws, directory.path(), events).await;
}

async fn damage_in_use(case: Case, harm: Harm, events: Events) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let (client, store) = open(case, &aws, directory.path(), events).await;
    record(&client, 0..RECORDED).await;

    let mut lost = harm.is_done_to(&segment(directory.path()));
    if harm == Harm::Deleted {
        // The store has the file open.
        lost = 0..0;
    }
    goes_on(case, events, &aws, &client, lost.clone()).await;
    assert_eq!(store.stats().damaged_records, lost.len() as u64, "{harm:?}");
    client.close().await.unwrap();
    is_empty(case, &aws, directory.path(), events).await;
}

/// Checks that the client delivers all events but these, and later ones.
async fn goes_on(case: Case, events: Events, aws: &Endpoint, client: &Client, lost: Range<usize>) {
    let done = client.drain(LONG).await.unwrap();
    assert_eq!(
        done.records_flushed,
        RECORDED - lost.len(),
        "without {lost:?}"
    );
    assert_eq!(client.cached(), 0);
    record(client, RECORDED..RECORDED + 20).await;
    assert_eq!(client.drain(LONG).await.unwrap().records_flushed, 20);

    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for number in (0..RECORDED + 20).filter(|number| !lost.contains(number)) {
        let key = key_off_the_wire(case, number);
        expected.entry(key).or_default().push(number);
    }
    assert_eq!(delivered(case, events, aws), expected, "without {lost:?}");
}

/// Firehose has no keys.
fn key_off_the_wire(case: Case, number: usize) -> String {
    match case.service {
        Service::Kinesis => key(number),
        Service::Firehose => String::new(),
    }
}

/// The accepted events of each key, in order. None differs from what was recorded.
fn delivered(case: Case, events: Events, aws: &Endpoint) -> BTreeMap<String, Vec<usize>> {
    let records = aws.delivered(STREAM);
    if events == Events::Sharing {
        assert!(records.len() < 10, "they share records: {}", records.len());
    }
    let mut delivered: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for record in events.within(case.service, records) {
        let (_, number) = payload::named_in(&record.data).unwrap();
        let number = usize::try_from(number).unwrap();
        assert!(record.data == data(number), "{number} differs");
        let key = record.partition_key.unwrap_or_default();
        delivered.entry(key).or_default().push(number);
    }
    delivered
}

/// Checks that nothing comes back, and that damage is counted once.
async fn is_empty(case: Case, aws: &Endpoint, path: &Path, events: Events) {
    let (client, store) = open(case, aws, path, events).await;
    assert_eq!(client.cached(), 0);
    assert_eq!(store.stats().damaged_records, 0);
    client.close().await.unwrap();
}
