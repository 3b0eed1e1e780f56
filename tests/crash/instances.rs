//! Instances of one program that start and die in parallel, all in the default directory. Each has
//! its own slot, and survivors deliver the records of dead instances.
//!
//! `INSTANCES_SECONDS` sets the duration, and `INSTANCES_SEED` repeats the random choices.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use amplify_test_support::{Reply, payload};
use fastrand::Rng;
use integration_tests::{
    Case, Endpoint, Home, Kind, SERVICES, Service, Setup, StoreKind, now, number_in, role,
};
use record_cache::{NewRecord, RecordStore, SledStore, StreamName};
use tokio::task::block_in_place;

const STREAMS: [&str; 2] = ["stream-a", "stream-b"];
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_heir_delivers_in_order_what_killed_instances_have_left() {
    let test = "an_heir_delivers_in_order_what_killed_instances_have_left";
    run(test, async |program| block_in_place(|| inherit(program))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_live_and_die_at_random_lose_nothing() {
    let test = "instances_that_live_and_die_at_random_lose_nothing";
    run(test, async |program| block_in_place(|| storm(program))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_heir_had_not_adopted_when_it_was_killed_stays_behind_what_it_had() {
    let test = "what_an_heir_had_not_adopted_when_it_was_killed_stays_behind_what_it_had";
    run(test, async |program| inherit_half(program).await).await;
}

/// Lives as an instance if this process is one; otherwise runs the scenario for each service.
async fn run(test: &'static str, scenario: impl AsyncFn(&mut Program)) {
    if let Some(role) = role() {
        return live(&role).await;
    }
    for service in SERVICES {
        scenario(&mut Program::new(test, service)).await;
    }
}

// ---- the instances

/// What an instance does until it is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Record,
    RecordAndDeliver,
    Deliver,
    /// Reports when it has adopted records.
    Adopt,
}

async fn live(role: &str) {
    let words: Vec<_> = role.split('|').collect();
    let [service, task, endpoint, name] = words[..] else {
        panic!("not a role: {role}");
    };
    let service = match service {
        "Kinesis" => Service::Kinesis,
        _ => Service::Firehose,
    };
    let case = Case::new(service, StoreKind::Sled);
    let mut setup = Setup::of_endpoint(case, endpoint.to_owned()).default_directory();
    // Either store takes over the records of the other.
    if name.bytes().map(u32::from).sum::<u32>() % 2 == 1 {
        setup = setup.in_journal();
    }
    if task.ends_with("Deliver") {
        setup = setup.flush_every(Duration::from_millis(10));
    }
    let client = setup.build().await;
    println!("\nlives");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let recording = async {
        if task == "Adopt" {
            while client.cached() == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            println!("adopted");
        }
        if task == "Deliver" || task == "Adopt" {
            return std::future::pending().await;
        }
        for number in 0.. {
            let stream = STREAMS[number % 2];
            while let Err(error) = client.record(stream, payload(name, number)).await {
                assert_eq!(error.kind, Kind::LimitExceeded, "{error:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            println!("recorded {number}");
            if fastrand::u32(0..3) == 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..8))).await;
            }
        }
    };
    tokio::select! {
        () = recording => {}
        _ = end => {}
    }
    client.close().await.unwrap();
    println!("ended");
}

fn payload(name: &str, number: usize) -> Vec<u8> {
    payload::payload(0, name, number as u64, number * 53 % 700)
}

// ---- the program

/// A program with many instances, its directory and its endpoint.
struct Program {
    test: &'static str,
    service: Service,
    home: Home,
    aws: Endpoint,
    started: usize,
    /// The number of records that each instance has recorded.
    recorded: BTreeMap<String, usize>,
    kills: usize,
}

struct Instance {
    name: String,
    process: Child,
    words: ChildStdin,
    said: Arc<Mutex<Vec<String>>>,
    listener: JoinHandle<()>,
}

impl Program {
    fn new(test: &'static str, service: Service) -> Self {
        Self {
            test,
            service,
            home: Home::make(),
            aws: Endpoint::start(),
            started: 0,
            recorded: BTreeMap::new(),
            kills: 0,
        }
    }

    fn start(&mut self, task: Task) -> Instance {
        let name = self.started.to_string();
        self.started += 1;
        let endpoint = self.aws.endpoint_url();
        let role = format!("{:?}|{task:?}|{endpoint}|{name}", self.service);
        let mut process = self.home.child(self.test, &role).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).split(b'\n');
        let words = process.stdin.take().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let listener = thread::spawn({
            let said = Arc::clone(&said);
            move || {
                let lines = lines.map_while(Result::ok);
                let lines = lines.filter_map(|line| String::from_utf8(line).ok());
                lines.for_each(|line| said.lock().unwrap().push(line));
            }
        });
        Instance {
            name,
            process,
            words,
            said,
            listener,
        }
    }

    /// Starts an instance, and returns once it runs.
    fn start_alive(&mut self, task: Task) -> Instance {
        let instance = self.start(task);
        instance.wait_until("it lives", |said| said.iter().any(|line| line == "lives"));
        instance
    }

    fn kill(&mut self, mut instance: Instance) {
        instance.process.kill().unwrap();
        instance.process.wait().unwrap();
        self.kills += 1;
        self.bury(instance);
    }

    fn end(&mut self, mut instance: Instance) {
        instance.words.write_all(b"end\n").unwrap();
        let status = instance.process.wait().unwrap();
        assert!(status.success(), "{status}");
        let said = Arc::clone(&instance.said);
        self.bury(instance);
        assert!(said.lock().unwrap().iter().any(|line| line == "ended"));
    }

    fn bury(&mut self, instance: Instance) {
        instance.listener.join().unwrap();
        self.recorded.insert(instance.name, count(&instance.said));
    }

    /// The payloads of each instance for each stream, in order of arrival.
    fn delivered(&self) -> BTreeMap<(String, &'static str), Vec<usize>> {
        let mut delivered = BTreeMap::<_, Vec<_>>::new();
        for stream in STREAMS {
            for record in self.aws.delivered(stream) {
                let (name, number) = payload::named_in(&record.data).unwrap();
                let number = usize::try_from(number).unwrap();
                assert!(
                    record.data == payload(name, number),
                    "{name} {number} differs"
                );
                assert_eq!(stream, STREAMS[number % 2]);
                let of_instance = delivered.entry((name.to_owned(), stream)).or_default();
                of_instance.push(number);
            }
        }
        delivered
    }

    /// The number of acknowledged records of dead instances that are not delivered.
    fn missing(&self) -> usize {
        let delivered = self.delivered().into_iter();
        let delivered: HashSet<_> = delivered
            .flat_map(|((name, _), numbers)| numbers.into_iter().map(move |n| (name.clone(), n)))
            .collect();
        let recorded = self.recorded.iter();
        let recorded = recorded.flat_map(|(name, &count)| (0..count).map(|n| (name.clone(), n)));
        recorded
            .filter(|record| !delivered.contains(record))
            .count()
    }

    /// Checks the order of first deliveries.
    fn assert_in_order(&self) {
        for ((name, stream), numbers) in self.delivered() {
            let mut seen = HashSet::new();
            let first: Vec<_> = numbers.into_iter().filter(|n| seen.insert(*n)).collect();
            assert!(first.is_sorted(), "{name} for {stream}: {first:?}");
        }
    }

    /// The directory of the slots, once an instance has created it.
    fn directory(&self) -> Option<PathBuf> {
        // All instances have one endpoint, and so share one directory.
        let mut directories = fs::read_dir(self.home.of_program()).ok()?;
        let directory = directories.next()?.unwrap().path();
        assert!(directories.next().is_none());
        let service = format!("{:?}", self.service).to_lowercase();
        let name = directory.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{service}_records_eu-west-1_127.0.0.1_")));
        Some(directory)
    }

    /// The slots whose data each process has open right now. Empty if the system does not report
    /// it.
    fn slots_in_use(&self, instances: &[Instance]) -> HashMap<u32, BTreeSet<PathBuf>> {
        let Some(directory) = self.directory() else {
            return HashMap::new();
        };
        let slots = |pid: u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten();
            let files = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
            // Instances that look for a free slot open the locks of slots in use.
            let data = files.filter(|file| !file.ends_with("lock"));
            data.filter_map(|file| Some(file.strip_prefix(&directory).ok()?.iter().next()?.into()))
                .collect()
        };
        let pids = instances.iter().map(|instance| instance.process.id());
        pids.map(|pid| (pid, slots(pid))).collect()
    }

    /// Checks that no two instances have the data of one slot open.
    fn check_slots(&self, instances: &[Instance]) {
        let shared = || {
            let mut users = HashMap::<PathBuf, Vec<u32>>::new();
            for (pid, slots) in self.slots_in_use(instances) {
                for slot in slots {
                    users.entry(slot).or_default().push(pid);
                }
            }
            users.retain(|_, users| users.len() > 1);
            users.into_iter().collect::<BTreeMap<_, _>>()
        };
        // One instance may release a slot, and another take it, between two looks.
        let mut seen = shared();
        for _ in 0..20 {
            if seen.is_empty() {
                return;
            }
            pause(Duration::from_millis(5));
            let again = shared();
            seen.retain(|slot, users| again.get(slot) == Some(users));
        }
        assert!(seen.is_empty(), "slots with two users: {seen:?}");
    }
}

impl Instance {
    fn wait_until(&self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let deadline = now() + LONG;
        while !condition(&self.said.lock().unwrap()) {
            assert!(now() < deadline, "not so: {what}");
            pause(Duration::from_millis(2));
        }
    }

    fn wait_until_recorded(&self, least: usize) {
        self.wait_until("it has recorded", |said| {
            said.iter()
                .filter(|line| line.starts_with("recorded "))
                .count()
                >= least
        });
    }
}

fn count(said: &Mutex<Vec<String>>) -> usize {
    let said = said.lock().unwrap();
    let numbers: Vec<usize> = said
        .iter()
        .filter_map(|line| line.strip_prefix("recorded ")?.parse().ok())
        .collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    numbers.len()
}

// ---- one heir

fn inherit(program: &mut Program) {
    for round in 0..2 {
        let bystander = program.start(Task::Record);
        bystander.wait_until_recorded(10);
        let instances: Vec<_> = (0..3).map(|_| program.start(Task::Record)).collect();
        for (at, instance) in instances.iter().enumerate() {
            instance.wait_until_recorded(20 + 150 * at);
        }
        program.check_slots(&instances);
        let slots = fs::read_dir(program.directory().unwrap()).unwrap();
        let slots = slots.filter(|slot| {
            let name = slot.as_ref().unwrap().file_name().into_string().unwrap();
            name.starts_with("slot-")
        });
        // More than four if an instance probed a slot while another chose its own.
        assert!(slots.count() >= 4);
        for (at, instance) in instances.into_iter().enumerate() {
            if at == 0 {
                program.end(instance);
            } else {
                program.kill(instance);
            }
        }

        let heir = program.start(Task::Deliver);
        wait_for_delivery(program);
        let delivered = program.delivered();
        assert!(!delivered.keys().any(|(name, _)| *name == bystander.name));
        program.kill(bystander);
        program.end(heir);
        let heir = program.start(Task::Deliver);
        wait_for_delivery(program);
        program.end(heir);

        for ((name, stream), numbers) in program.delivered() {
            // The kill may have come after a record was stored and before it was reported.
            let recorded = program.recorded[&name];
            let first = usize::from(stream == STREAMS[1]);
            let expected = |count: usize| (first..count).step_by(2).collect::<Vec<_>>();
            assert!(
                numbers == expected(recorded) || numbers == expected(recorded + 1),
                "round {round}: instance {name} recorded {recorded} for {stream}: {numbers:?}"
            );
        }
    }
}

// ---- an heir that is killed

/// Kills heirs while they adopt, until one has moved the head of a slot into its own slot and left
/// the rest. The next instance must not deliver the rest before the head.
async fn inherit_half(program: &mut Program) {
    const RECORDS: usize = 12_000;
    let first = program.start_alive(Task::Deliver);
    program.end(first);
    let directory = program.directory().unwrap();
    let slot = |number: usize| directory.join(format!("slot-{number}"));
    let open = async |number: usize| SledStore::open(slot(number)).await;
    let key = (program.service == Service::Kinesis).then(|| "key".to_owned());
    let append = async |number: usize, name: &str, count: usize| {
        let store = open(number).await.unwrap();
        let record = |n: usize| {
            let stream = StreamName::new(STREAMS[n % 2]).unwrap();
            NewRecord::new(stream, key.clone(), payload(name, n))
        };
        store
            .append((0..count).map(record).collect())
            .await
            .unwrap();
        store.close().await.unwrap();
    };
    let held = async |number: usize| {
        let store = open(number).await.unwrap();
        let held = store.stats().records();
        store.close().await.unwrap();
        held
    };
    let busy = open(0).await.unwrap();
    for round in 0.. {
        assert!(round < 30, "no heir was killed half way");
        append(2, "writer", RECORDS).await;
        let heir = program.start_alive(Task::Adopt);
        heir.wait_until("it adopts", |said| {
            said.iter().any(|line| line == "adopted")
        });
        program.kill(heir);
        if held(1).await > 0 && held(2).await > 0 {
            break;
        }
        for number in [1, 2] {
            let store = open(number).await.unwrap();
            store.clear().await.unwrap();
            store.close().await.unwrap();
        }
    }
    program.recorded.insert("writer".to_owned(), RECORDS);
    // Instances visit slots in order, so they reach this one last.
    append(9, "last", 2).await;
    let with_the_head = open(1).await.unwrap();
    let other = program.start_alive(Task::Deliver);
    wait_until(program, "the other one has been through", |program| {
        program.delivered().keys().any(|(name, _)| name == "last")
    });
    program.recorded.insert("last".to_owned(), 2);
    program.end(other);
    for store in [with_the_head, busy] {
        store.close().await.unwrap();
    }
    let heir = program.start_alive(Task::Deliver);
    wait_for_delivery(program);
    program.end(heir);
    program.assert_in_order();
}

// ---- many of them

fn storm(program: &mut Program) {
    let seed = number_in("INSTANCES_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = number_in("INSTANCES_SECONDS").unwrap_or(6);
    eprintln!("INSTANCES_SEED={seed}");
    let mut dice = Rng::with_seed(seed);
    program.aws.always(|request| {
        let delay = Duration::from_millis(request.records.len() as u64 % 30);
        Reply::Accept.delayed(delay)
    });
    let end = now() + Duration::from_secs(seconds);
    let mut instances = Vec::<Instance>::new();
    // Where processes start slowly, too little may have happened by then.
    let idle = |program: &Program| program.kills == 0 || program.delivered().is_empty();
    while now() < end || (idle(program) && now() < end + LONG) {
        pause(Duration::from_millis(dice.u64(0..150)));
        if instances.len() < 5 && dice.u32(0..2) == 0 {
            let task = match dice.u32(0..4) {
                0 => Task::Record,
                1 => Task::Deliver,
                _ => Task::RecordAndDeliver,
            };
            instances.push(match dice.bool() {
                true => program.start_alive(task),
                false => program.start(task),
            });
        } else if !instances.is_empty() {
            let instance = instances.swap_remove(dice.usize(0..instances.len()));
            match dice.u32(0..4) {
                0 => program.end(instance),
                _ => program.kill(instance),
            }
        }
        program.check_slots(&instances);
    }
    for instance in instances {
        program.kill(instance);
    }
    // An heir adopts what it has room for, immediately and a while later. The next one takes the
    // rest.
    for _ in 0..5 {
        let heir = program.start(Task::Deliver);
        let deadline = now() + Duration::from_secs(20);
        while program.missing() > 0 && now() < deadline {
            pause(Duration::from_millis(50));
        }
        program.end(heir);
    }
    assert_eq!(program.missing(), 0, "INSTANCES_SEED={seed}");
    program.assert_in_order();

    let mut repeated = 0;
    let mut total = 0;
    for ((name, _), numbers) in program.delivered() {
        let distinct: BTreeSet<_> = numbers.iter().collect();
        let recorded = program.recorded[&name];
        assert!(
            **distinct.last().unwrap() <= recorded,
            "{name} is told of more than it recorded"
        );
        repeated += numbers.len() - distinct.len();
        total += distinct.len();
    }
    eprintln!(
        "{} instances, {} killed: {total} records, {repeated} of them repeated",
        program.started, program.kills
    );
    assert!(total > 0 && program.kills > 0);
    // At most one request for each stream, and one step of an adoption that was in both slots.
    assert!(repeated <= program.kills * (500 * STREAMS.len() + 256));
}

fn wait_for_delivery(program: &Program) {
    wait_until(program, "the heir delivers all", |program| {
        program.missing() == 0
    });
}

fn wait_until(program: &Program, what: &str, condition: impl Fn(&Program) -> bool) {
    let deadline = now() + LONG;
    while !condition(program) {
        assert!(
            now() < deadline,
            "not so: {what}: {} are missing",
            program.missing()
        );
        pause(Duration::from_millis(20));
    }
}

fn pause(time: Duration) {
    let (_never, told) = std::sync::mpsc::channel::<()>();
    let _ = told.recv_timeout(time);
}
