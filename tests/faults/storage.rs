//! Records on disk: what survives a restart, who may use a directory, and the directories of a
//! program's instances.

use std::collections::BTreeSet;
use std::fs;
#[cfg(target_os = "linux")]
use std::io::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use amplify_kinesis::Durability;
use amplify_test_support::Reply;
use integration_tests::{
    Case, Client, Discards, Endpoint, Home, Kind, SERVICES, Service, Setup, StoreKind,
    assert_fails, child, eventually, numbered, role,
};
#[cfg(unix)]
use integration_tests::{child_of, link_to_this_program};
use tempfile::TempDir;

integration_tests::cases! {
    on_disk_and_in_a_journal:
        what_was_closed_is_there_again,
        what_was_dropped_is_there_again,
        a_closed_directory_can_be_opened_at_once,
        a_directory_has_one_user_at_a_time,
        the_retry_count_survives_a_restart,
        the_biggest_records_survive_a_restart,
        the_bound_counts_what_a_restart_kept,
        what_was_cleared_stays_gone,
        a_directory_that_cannot_be_is_a_storage_error,
        others_cannot_read_the_directory;
    in_a_journal:
        the_directory_of_another_store_opens_with_all_that_is_in_it;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    (directory, path)
}

async fn open(case: Case, aws: &Endpoint, path: &Path) -> Client {
    Setup::new(case, aws).at(path).build().await
}

// ---- across restarts

async fn what_was_closed_is_there_again(case: Case) {
    let aws = Endpoint::start();
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        let (_directory, path) = directory();
        let setup = || Setup::new(case, &aws).durability(durability).at(&path);
        let every_byte: Vec<u8> = (0..=255).collect();
        let streams = [format!("{durability:?}-a"), format!("{durability:?}-b")];

        let client = setup().build().await;
        client.keep(&streams[0], "ключ", every_byte.clone()).await;
        client.record_to(&streams[1], numbered("record", 700)).await;
        let recorded = client.cache_stats();
        client.close().await.unwrap();

        let client = setup().build().await;
        assert_eq!(client.cache_stats(), recorded);
        client.record_to(&streams[1], ["later"]).await;
        client.flush().await.unwrap();
        client.close().await.unwrap();

        let client = setup().build().await;
        assert_eq!(client.cached(), 201);
        client.drain(LONG).await.unwrap();
        client.close().await.unwrap();
        assert_eq!(setup().build().await.cached(), 0);

        let delivered = aws.delivered(&streams[0]);
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].data, every_byte);
        let key = (case.service == Service::Kinesis).then_some("ключ");
        assert_eq!(delivered[0].partition_key.as_deref(), key);
        let mut expected = numbered("record", 700);
        expected.push("later".to_owned());
        assert_eq!(aws.payloads(&streams[1]), expected);
    }
}

async fn what_was_dropped_is_there_again(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let client = open(case, &aws, &path).await;
    client.record_to(STREAM, numbered("record", 50)).await;
    let clone = client.clone();
    drop(client);
    clone.record_to(STREAM, ["one more"]).await;
    drop(clone);
    let client = Setup::new(case, &aws).at(&path).build_when_free().await;
    assert_eq!(client.drain(LONG).await.unwrap().records_flushed, 51);
    assert_eq!(aws.payloads(STREAM)[50], "one more");
}

async fn a_closed_directory_can_be_opened_at_once(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    for round in 1..=10 {
        let client = open(case, &aws, &path).await;
        client.record_to(STREAM, numbered("record", 3)).await;
        assert_eq!(client.cached(), 3 * round);
        if round % 2 == 0 {
            // A clone of a closed client keeps nothing open.
            let _clone = client.clone();
            client.close().await.unwrap();
            open(case, &aws, &path).await.close().await.unwrap();
        } else {
            client.close().await.unwrap();
        }
    }
    let client = open(case, &aws, &path).await;
    client.drain(LONG).await.unwrap();
    let expected: Vec<_> = (0..10).flat_map(|_| numbered("record", 3)).collect();
    assert_eq!(aws.payloads(STREAM), expected);
}

async fn the_retry_count_survives_a_restart(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let discards = Discards::default();
    let setup = Setup::new(case, &aws)
        .max_retries(2)
        .discards(&discards)
        .at(&path);
    for attempt in 1..=3 {
        let client = setup.clone().build().await;
        if attempt == 1 {
            client.record_to(STREAM, ["good", "bad"]).await;
        }
        aws.script(Reply::fail_where(
            |record| record.data == "bad",
            "InternalFailure",
        ));
        client.flush().await.unwrap();
        assert_eq!(client.cached(), usize::from(attempt < 3));
        client.close().await.unwrap();
    }
    assert_eq!(discards.payloads(), ["bad"]);
    assert_eq!(discards.all()[0].attempts, 3);
    assert_eq!(aws.payloads(STREAM), ["good"]);
}

async fn the_biggest_records_survive_a_restart(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let most = case.max_record_bytes() - case.key_bytes();
    let setup = Setup::new(case, &aws).cache_max_bytes(64 << 20).at(&path);
    let payload = |at: u8| -> Vec<u8> {
        (0..most)
            .map(|byte| at.wrapping_add(u8::try_from(byte % 251).unwrap()))
            .collect()
    };
    let client = setup.clone().build().await;
    for at in 0..3 {
        client.record(STREAM, payload(at)).await.unwrap();
    }
    client.close().await.unwrap();
    let client = setup.build().await;
    assert_eq!(client.drain(LONG).await.unwrap().records_flushed, 3);
    for (at, record) in (0..).zip(aws.delivered(STREAM)) {
        assert!(record.data == payload(at), "record {at} differs");
    }
}

async fn the_bound_counts_what_a_restart_kept(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let setup = |bytes| Setup::new(case, &aws).cache_max_bytes(bytes).at(&path);
    let data = |size| case.data_of(size);
    let client = setup(10_000).build().await;
    client.record(STREAM, data(6000)).await.unwrap();
    client.close().await.unwrap();

    let client = setup(10_000).build().await;
    assert_fails(client.record(STREAM, data(4001)).await, Kind::LimitExceeded);
    client.record(STREAM, data(4000)).await.unwrap();
    client.close().await.unwrap();

    // A lowered limit keeps existing records, and accepts none until there is room.
    let client = setup(7000).build().await;
    assert_eq!(client.cached(), 2);
    assert_fails(client.record(STREAM, data(1)).await, Kind::LimitExceeded);
    aws.script(Reply::fail_at([1], "InternalFailure"));
    client.flush().await.unwrap();
    assert_fails(client.record(STREAM, data(3001)).await, Kind::LimitExceeded);
    client.record(STREAM, data(3000)).await.unwrap();
}

async fn what_was_cleared_stays_gone(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let client = open(case, &aws, &path).await;
    client.record_to(STREAM, numbered("record", 100)).await;
    assert_eq!(client.clear_cache().await.unwrap().records_cleared, 100);
    client.record_to(STREAM, ["later"]).await;
    client.close().await.unwrap();
    let client = open(case, &aws, &path).await;
    client.drain(LONG).await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["later"]);
}

// ---- one user at a time

async fn a_directory_has_one_user_at_a_time(case: Case) {
    let aws = Endpoint::start();
    let (directory, path) = directory();
    let first = open(case, &aws, &path).await;
    first.record_to(STREAM, ["1"]).await;
    // Windows reserves links for administrators.
    #[cfg(unix)]
    let link = directory.path().join("link");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let dotted = directory.path().join(".").join("cache");
    for service in SERVICES {
        for path in [
            &path,
            &dotted,
            #[cfg(unix)]
            &link,
        ] {
            let case = Case { service, ..case };
            let second = Setup::new(case, &aws).at(path).try_build().await;
            let error = second.unwrap_err();
            assert_eq!(error.kind, Kind::Storage, "{error:?}");
            // An absolute path is shown as given.
            assert!(error.message.contains(path.to_str().unwrap()), "{error:?}");
            assert!(
                error.recovery_suggestion.contains("storage_path"),
                "{error:?}"
            );
        }
    }
    // The first client is undisturbed.
    first.record_to(STREAM, ["2"]).await;
    first.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["1", "2"]);
    first.record_to(STREAM, ["3"]).await;
    first.close().await.unwrap();
    let second = open(case, &aws, &path).await;
    second.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_directory_has_one_user_among_all_processes() {
    let case = on_disk(Service::Kinesis);
    if let Some(path) = role() {
        // In the child: hold the directory until killed.
        let aws = Endpoint::start();
        let client = open(case, &aws, Path::new(&path)).await;
        client.record_to(STREAM, ["of the child"]).await;
        println!("\nheld");
        return std::future::pending().await;
    }
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let test = "storage::a_directory_has_one_user_among_all_processes";
    let mut child = child(test, path.to_str().unwrap()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines.map(Result::unwrap).any(|line| line == "held");
    assert!(held, "the child opens the directory");

    let second = Setup::new(case, &aws).at(&path).try_build().await;
    let error = second.unwrap_err();
    assert_eq!(error.kind, Kind::Storage, "{error:?}");
    assert!(error.message.contains(path.to_str().unwrap()), "{error:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let client = open(case, &aws, &path).await;
    client.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["of the child"]);
}

// ---- the directory itself

async fn a_directory_that_cannot_be_is_a_storage_error(case: Case) {
    let aws = Endpoint::start();
    let (directory, _) = directory();
    let file = directory.path().join("file");
    fs::write(&file, "somebody's own").unwrap();
    for path in [
        file.clone(),
        file.join("below"),
        #[cfg(target_os = "linux")]
        PathBuf::from("/proc/amplify/cache"),
    ] {
        let setup = Setup::new(case, &aws).at(&path);
        let error = setup.try_build().await.unwrap_err();
        assert_eq!(error.kind, Kind::Storage, "{}: {error:?}", path.display());
        assert!(error.message.contains(path.to_str().unwrap()), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's own");
}

/// Windows has no modes. The parent directory decides.
#[cfg(not(unix))]
async fn others_cannot_read_the_directory(_: Case) {}

#[cfg(unix)]
async fn others_cannot_read_the_directory(case: Case) {
    use std::os::unix::fs::PermissionsExt;

    let aws = Endpoint::start();
    let (directory, _) = directory();
    let path = directory.path().join("made").join("on").join("the way");
    let client = open(case, &aws, &path).await;
    client.record_to(STREAM, numbered("record", 100)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut files = 0;
    let mut directories = vec![path.clone()];
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 0);
}

async fn the_directory_of_another_store_opens_with_all_that_is_in_it(case: Case) {
    let aws = Endpoint::start();
    let (_directory, path) = directory();
    let client = Setup::new(case, &aws).storage_path(&path).build().await;
    client.record_to(STREAM, numbered("record", 700)).await;
    aws.always(|_| Reply::fail_where(|record| record.data == "record-3", "InternalFailure"));
    client.flush().await.unwrap();
    client.close().await.unwrap();

    let discards = Discards::default();
    let setup = Setup::new(case, &aws).max_retries(1).discards(&discards);
    let client = setup.journal(&path).build().await;
    assert_eq!(client.cached(), 201);
    client.drain(LONG).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(discards.all()[0].attempts, 2, "attempts are kept too");
    let mut expected = numbered("record", 700);
    expected.remove(3);
    assert_eq!(aws.payloads(STREAM), expected);
    let client = Setup::new(case, &aws).storage_path(&path).build().await;
    assert_eq!(client.cached(), 0);
}

// ---- the default directory

/// Runs a test in a child whose local data directory is a temporary one.
fn in_own_home(test: &str) {
    let home = Home::make();
    assert_passes(&mut home.child(test, home.path().to_str().unwrap()));
}

fn assert_passes(child: &mut Command) {
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

/// The names in a directory.
fn below(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The directory that holds a program's slots. A process has one client there, so stand-ins for
/// other instances open slots by path.
async fn default_directory_of(setup: Setup) -> PathBuf {
    let client = setup.build().await;
    client.close().await.unwrap();
    client.storage_path().unwrap().parent().unwrap().to_owned()
}

fn on_disk(service: Service) -> Case {
    Case::new(service, StoreKind::Sled)
}

#[tokio::test]
async fn each_program_client_and_region_has_a_default_directory() {
    let Some(home) = role() else {
        return in_own_home("storage::each_program_client_and_region_has_a_default_directory");
    };
    let aws = Endpoint::start();
    let setup = |service| Setup::new(on_disk(service), &aws).default_directory();
    for service in SERVICES {
        for region in ["eu-west-1", "us-east-2"] {
            let client = setup(service).region(region).build().await;
            client.record(region, "1").await.unwrap();
            client.close().await.unwrap();
        }
    }
    let expected = [
        "firehose_records_eu-west-1_127.0.0.1_",
        "firehose_records_us-east-2_127.0.0.1_",
        "kinesis_records_eu-west-1_127.0.0.1_",
        "kinesis_records_us-east-2_127.0.0.1_",
    ];
    let directories = below(&Home::of_this_program(home.as_ref()));
    assert_eq!(directories.len(), expected.len());
    for (directory, expected) in directories.iter().zip(expected) {
        assert!(directory.starts_with(expected), "{directory}");
    }
    for service in SERVICES {
        let client = setup(service).region("us-east-2").build().await;
        client.drain(LONG).await.unwrap();
    }
    assert_eq!(aws.payloads("us-east-2"), ["1", "1"]);
    assert_eq!(aws.payloads("eu-west-1"), [""; 0]);
}

#[tokio::test]
async fn instances_take_slots_of_their_own_and_adopt_those_of_the_dead() {
    let Some(home) = role() else {
        return in_own_home(
            "storage::instances_take_slots_of_their_own_and_adopt_those_of_the_dead",
        );
    };
    for service in SERVICES {
        let aws = Endpoint::start();
        let setup = || Setup::new(on_disk(service), &aws).default_directory();
        let directory = default_directory_of(setup()).await;
        let other = |slot: &str| setup().storage_path(&directory.join(slot)).build();
        let (second, third) = (other("slot-1").await, other("slot-2").await);
        let instances = [setup().build().await, second, third];
        let stream = |at: usize| format!("of-{at}");
        for (at, instance) in instances.iter().enumerate() {
            instance
                .record_to(&stream(at), numbered("record", 600))
                .await;
            instance
                .record_to("common", [format!("{at}-first"), format!("{at}-second")])
                .await;
        }
        assert!(directory.starts_with(Home::of_this_program(home.as_ref())));
        let slots: BTreeSet<String> = ["slot-0", "slot-1", "slot-2"].map(str::to_owned).into();
        let found = below(&directory);
        assert!(found.is_superset(&slots), "{found:?}");
        for instance in instances {
            instance.close().await.unwrap();
        }

        // A lone instance finds its own records and those of the others.
        let heir = setup().build().await;
        eventually("all are adopted", async || heir.cached() == 3 * 602).await;
        heir.drain(LONG).await.unwrap();
        assert_eq!(heir.cached(), 0);
        for at in 0..3 {
            assert_eq!(aws.payloads(&stream(at)), numbered("record", 600));
        }
        let common = aws.payloads("common");
        assert_eq!(common.len(), 6);
        for at in 0..3 {
            let mut of_instance = common.clone();
            of_instance.retain(|payload| payload.starts_with(&format!("{at}-")));
            assert_eq!(of_instance, [format!("{at}-first"), format!("{at}-second")]);
        }
        heir.close().await.unwrap();
    }
}

#[tokio::test]
async fn adoption_does_not_forget_the_retry_count() {
    if role().is_none() {
        return in_own_home("storage::adoption_does_not_forget_the_retry_count");
    }
    for service in SERVICES {
        let aws = Endpoint::start();
        let discards = Discards::default();
        let setup = Setup::new(on_disk(service), &aws).default_directory();
        let setup = setup.max_retries(1).discards(&discards);
        let slot = default_directory_of(setup.clone()).await.join("slot-1");
        let second = setup.clone().storage_path(&slot).build().await;
        let instances = [setup.clone().build().await, second];
        instances[1].record_to(STREAM, ["bad", "good"]).await;
        aws.always(|_| Reply::fail_where(|record| record.data == "bad", "InternalFailure"));
        assert_eq!(instances[1].flush().await.unwrap().records_retried, 1);
        for instance in instances {
            instance.close().await.unwrap();
        }

        let heir = setup.build().await;
        eventually("all are adopted", async || heir.cached() == 1).await;
        assert_eq!(heir.flush().await.unwrap().records_discarded, 1);
        assert_eq!(discards.payloads(), ["bad"]);
        assert_eq!(discards.all()[0].attempts, 2);
        heir.close().await.unwrap();
    }
}

#[tokio::test]
async fn each_endpoint_and_name_has_a_default_directory_and_one_client_of_a_process() {
    let Some(home) = role() else {
        return in_own_home(
            "storage::each_endpoint_and_name_has_a_default_directory_and_one_client_of_a_process",
        );
    };
    let home = Path::new(&home);
    let name = Home::own_name(home, "account-b");
    for service in SERVICES {
        let (here, there) = (Endpoint::start(), Endpoint::start());
        let setup = |aws| Setup::new(on_disk(service), aws).default_directory();
        let client = setup(&here).build().await;
        client.record("a", "of this endpoint").await.unwrap();
        let unnamed = client.storage_path().unwrap().to_owned();
        assert!(unnamed.starts_with(Home::of_this_program(home)));

        let error = setup(&here).try_build().await.unwrap_err();
        assert_eq!(error.kind, Kind::Validation, "{error:?}");
        assert!(error.recovery_suggestion.contains("name"), "{error:?}");

        let named = setup(&here).name(&name).build().await;
        let own = named.storage_path().unwrap();
        assert!(own.starts_with(Home::of_name(home, &name)));
        assert_eq!(named.cached(), 0);
        let elsewhere = setup(&there).build().await;
        assert_eq!(elsewhere.cached(), 0, "the records of another endpoint");

        client.close().await.unwrap();
        let again = setup(&here).build().await;
        assert_eq!(again.storage_path().unwrap(), unnamed);
        again.drain(LONG).await.unwrap();
        assert_eq!(here.payloads("a"), ["of this endpoint"]);
        drop(again);
        eventually("the directory of a dropped client is free", async || {
            setup(&here).try_build().await.is_ok()
        })
        .await;
        for name in ["", ".", "..", "a/b", "a b", "é", &"n".repeat(65)] {
            let error = setup(&there).name(name).try_build().await.unwrap_err();
            assert_eq!(error.kind, Kind::Validation, "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_client_knows_the_directory_of_its_cache() {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    for service in SERVICES {
        let setup = || Setup::new(on_disk(service), &aws);
        assert_eq!(setup().in_memory().build().await.storage_path(), None);
        let client = setup().storage_path(&path).build().await;
        assert_eq!(client.storage_path(), Some(&*path));
        client.close().await.unwrap();
    }
}

/// Each client keeps the directory that its relative path named when it was built.
#[tokio::test]
async fn a_relative_path_is_where_it_was_when_the_client_was_built() {
    const TEST: &str = "storage::a_relative_path_is_where_it_was_when_the_client_was_built";
    const RECORDS: usize = 500;
    let Some(place) = role() else {
        let place = Home::make();
        let mut child = place.child(TEST, place.path().to_str().unwrap());
        return assert_passes(child.env("HOME", "home").env("XDG_DATA_HOME", "data"));
    };
    let aws = Endpoint::start();
    let enter = |name: &str| {
        let path = Path::new(&place).join(name);
        fs::create_dir_all(&path).unwrap();
        std::env::set_current_dir(&path).unwrap();
        path
    };
    let services = SERVICES.into_iter();
    let cases =
        services.flat_map(|service| StoreKind::DURABLE.map(|kind| Case::new(service, kind)));
    for (at, case) in cases.enumerate() {
        let (here, there) = (format!("{at}-here"), format!("{at}-there"));
        let setup = || Setup::new(case, &aws).at("cache".as_ref());
        let home = enter(&here);
        let first = setup().build().await;
        let of_program = Setup::new(case, &aws).default_directory();
        let by_default = of_program
            .name(&Home::own_name(place.as_ref(), &format!("program-{at}")))
            .build()
            .await;
        // Windows has a fixed data directory, whatever the environment says.
        assert!(cfg!(windows) || by_default.storage_path().unwrap().starts_with(&home));
        enter(&there);
        let second = setup().build().await;
        for (client, what) in [
            (&first, "first"),
            (&second, "second"),
            (&by_default, "third"),
        ] {
            for _ in 0..10 {
                let data = || format!("{what}{}", "x".repeat(3_000));
                client
                    .record_to(STREAM, (0..RECORDS / 10).map(|_| data()))
                    .await;
            }
        }
        for client in [&first, &second, &by_default] {
            client.close().await.unwrap();
        }
        enter("elsewhere");
        let default = by_default.storage_path().unwrap();
        let kept = |name| Path::new(&place).join(name).join("cache");
        for (path, what) in [
            (kept(&here), "first"),
            (kept(&there), "second"),
            (default.to_owned(), "third"),
        ] {
            let client = Setup::new(case, &aws).at(&path).build().await;
            assert_eq!(client.cached(), RECORDS, "{case:?}: {what}");
            let stream = aws.payloads(STREAM).len();
            client.drain(LONG).await.unwrap();
            let delivered = aws.payloads(STREAM).split_off(stream);
            assert!(
                delivered.iter().all(|data| data.starts_with(what)),
                "{case:?}"
            );
            client.close().await.unwrap();
        }
        assert_eq!(below(&Path::new(&place).join("elsewhere")), BTreeSet::new());
    }
}

/// An upgrade in place: the program keeps its directory, whatever happens to its file.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_that_was_replaced_while_it_runs_has_the_directory_it_had() {
    const TEST: &str =
        "storage::a_program_that_was_replaced_while_it_runs_has_the_directory_it_had";
    if role().is_some() {
        println!("\nruns");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let aws = Endpoint::start();
        for service in SERVICES {
            let setup = Setup::new(on_disk(service), &aws).default_directory();
            let client = setup.build().await;
            let path = client.storage_path().unwrap();
            println!("\nin {}", path.display());
            client.close().await.unwrap();
        }
        return;
    }
    // The second name is how Linux would show the first after its deletion.
    for (name, stem) in [("program", "program"), ("odd (deleted)", "odd (deleted)")] {
        for fate in ["kept", "deleted", "replaced", "moved"] {
            let home = tempfile::tempdir().unwrap();
            let program = home.path().join(name);
            link_to_this_program(&program);
            let mut child = child_of(&program, TEST, "replaced")
                .env("HOME", home.path())
                .env("XDG_DATA_HOME", home.path().join("data"))
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "runs"));
            match fate {
                "deleted" => fs::remove_file(&program).unwrap(),
                "replaced" => {
                    let new = home.path().join("new");
                    fs::write(&new, "the next version").unwrap();
                    fs::rename(&new, &program).unwrap();
                }
                "moved" => fs::rename(&program, home.path().join("old")).unwrap(),
                _ => {}
            }
            child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
            let said: Vec<_> = lines.map_while(Result::ok).collect();
            assert!(child.wait().unwrap().success(), "{name}, {fate}: {said:?}");
            // A moved program uses its new name, as if started there.
            let stem = if fate == "moved" { "old" } else { stem };
            let below = home.path().join("data").join(stem);
            let paths = said.iter().filter_map(|line| line.strip_prefix("in "));
            let paths: Vec<_> = paths.map(PathBuf::from).collect();
            assert_eq!(paths.len(), SERVICES.len(), "{said:?}");
            for path in paths {
                assert!(path.starts_with(&below), "{name}, {fate}: {path:?}");
            }
        }
    }
}

/// A directory planted by a second user is refused, untouched. The victim's process is not root.
#[cfg(unix)]
#[tokio::test]
async fn a_default_directory_that_another_user_planted_is_refused() {
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::os::unix::process::CommandExt;

    const TEST: &str = "storage::a_default_directory_that_another_user_planted_is_refused";
    const VICTIM: u32 = 54_321;
    const ATTACKER: u32 = 12_345;
    if role().is_some() {
        let aws = Endpoint::start();
        for service in SERVICES {
            let setup = Setup::new(on_disk(service), &aws).default_directory();
            let setup = setup.name("program").endpoint_url("http://h:1");
            match setup.try_build().await {
                Ok(client) => {
                    println!("\nbuilt {}", client.storage_path().unwrap().display());
                    client.close().await.unwrap();
                }
                Err(error) => println!("\n{:?}: {}", error.kind, error.message),
            }
        }
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let clear = |path: &Path| drop(fs::remove_dir_all(path).or_else(|_| fs::remove_file(path)));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(place.path(), 0o755).unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    if lchown(&data, Some(VICTIM), Some(VICTIM)).is_err() {
        return println!("only root can play two users");
    }
    let program = place.path().join("program");
    link_to_this_program(&program);
    let victim = || {
        let mut child = child_of(&program, TEST, "victim");
        let child = child.uid(VICTIM).gid(VICTIM).current_dir("/");
        let child = child.env("HOME", place.path()).env("XDG_DATA_HOME", &data);
        let output = child.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = said.lines().map(str::to_owned);
        let lines =
            lines.filter(|line| ["built ", "Storage: "].iter().any(|p| line.starts_with(p)));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), SERVICES.len(), "{said}");
        lines
    };
    let built = victim();
    let slot = |line: &String| PathBuf::from(line.strip_prefix("built ").unwrap());
    let slots: Vec<_> = built.iter().map(slot).collect();
    let treasury = place.path().join("treasury");
    fs::create_dir(&treasury).unwrap();
    lchown(&treasury, Some(VICTIM), Some(VICTIM)).unwrap();
    // The program's directory, the records' directory in it, and a slot in that.
    for levels_above in [2, 1, 0] {
        for kind in [
            "closed",
            "open",
            "link",
            "dangling",
            "FIFO",
            "file",
            "once open",
        ] {
            for first in [true, false] {
                let context = format!("{kind}, {levels_above} above the slot, first: {first}");
                clear(&data.join("program"));
                if !first {
                    victim();
                }
                for slot in &slots {
                    let at = slot.ancestors().nth(levels_above).unwrap();
                    fs::create_dir_all(at.parent().unwrap()).unwrap();
                    if kind == "once open" {
                        fs::create_dir_all(at).unwrap();
                        mode(at, 0o777).unwrap();
                    } else {
                        // The program has one directory for both clients.
                        clear(at);
                        match kind {
                            "closed" | "open" => fs::create_dir(at).unwrap(),
                            "link" => symlink(&treasury, at).unwrap(),
                            "dangling" => symlink(place.path().join("nowhere"), at).unwrap(),
                            "file" => fs::write(at, "file").unwrap(),
                            _ => {
                                let made = Command::new("mkfifo").arg(at).status();
                                assert!(made.unwrap().success());
                            }
                        }
                        if kind == "open" {
                            mode(at, 0o777).unwrap();
                        }
                        lchown(at, Some(ATTACKER), Some(ATTACKER)).unwrap();
                    }
                    for above in at.ancestors().skip(1).take_while(|above| *above != data) {
                        lchown(above, Some(VICTIM), Some(VICTIM)).unwrap();
                    }
                    if kind == "once open" {
                        lchown(at, Some(VICTIM), Some(VICTIM)).unwrap();
                    }
                }
                for said in victim() {
                    assert!(said.starts_with("Storage: "), "{context}: {said}");
                }
                for slot in &slots {
                    let at = slot.ancestors().nth(levels_above).unwrap();
                    let found = fs::symlink_metadata(at).unwrap();
                    let is_empty = || fs::read_dir(at).unwrap().count() == 0;
                    let is_full = kind == "once open" && !first;
                    assert!(!found.is_dir() || is_full || is_empty(), "{context}");
                }
                assert_eq!(fs::read_dir(&treasury).unwrap().count(), 0, "{context}");
                assert!(!place.path().join("nowhere").exists(), "{context}");
            }
        }
    }
}
