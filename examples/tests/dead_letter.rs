//! `dead_letter` keeps discarded records and records them again.

mod support;

use std::fs;
use std::io::Write;

use amplify_test_endpoint::FakeAws;

use self::support::{finish, program};

#[test]
fn what_is_given_up_goes_to_the_file_and_back() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str], input: &[u8]| {
        let mut command = program(env!("CARGO_BIN_EXE_dead_letter"), &aws, home.path());
        let mut child = command.args(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        finish(child)
    };
    let letters = home.path().join("dead-letters.jsonl");

    // The stream does not exist, so each attempt is charged to the records.
    aws.only_streams(["another"]);
    let send = ["send", "--stream", "orders", "--max-retries", "0"];
    let (ended_well, output) = run(&send, b"one\ntwo\n");
    assert!(ended_well, "{output}");
    assert!(
        output.contains("2 recorded, 0 delivered, 2 given up, 0 left"),
        "{output}"
    );
    let text = fs::read_to_string(&letters).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("ResourceNotFoundException"), "{text}");

    // Letters may be edited: give the first a hash key. It is discarded again.
    let key = r#""partition_key":"line-0","#;
    let hashed = format!(r#"{key}"explicit_hash_key":"{}","#, u128::MAX);
    assert!(text.contains(key), "{text}");
    fs::write(&letters, text.replace(key, &hashed)).unwrap();
    let (ended_well, output) = run(&["back", "--max-retries", "0"], b"");
    assert!(ended_well, "{output}");
    let text = fs::read_to_string(&letters).unwrap();
    assert!(text.contains(&hashed), "{text}");

    aws.all_streams();
    let (ended_well, output) = run(&["back"], b"");
    assert!(ended_well, "{output}");
    let arrived = aws.delivered("orders");
    let arrived: Vec<_> = arrived.iter().map(|record| &record.data[..]).collect();
    assert_eq!(arrived, [b"one", b"two"]);
    let delivered = aws.delivered("orders");
    assert_eq!(delivered[1].partition_key.as_deref(), Some("line-1"));
    let hash_keys: Vec<_> = delivered
        .iter()
        .map(|r| r.explicit_hash_key.clone())
        .collect();
    assert_eq!(hash_keys, [Some(u128::MAX.to_string()), None]);
    assert!(!letters.exists(), "the letters were taken");

    let (ended_well, output) = run(&["back"], b"");
    assert!(!ended_well, "{output}");
    assert!(output.contains("no letters in"), "{output}");
}

#[test]
fn without_a_network_lines_wait_for_the_next_run() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let run = |input: &[u8]| {
        let mut command = program(env!("CARGO_BIN_EXE_dead_letter"), &aws, home.path());
        let mut child = command
            .args(["send", "--stream", "orders"])
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        finish(child)
    };
    aws.stop();
    let (ended_well, output) = run(b"one\n");
    assert!(ended_well, "{output}");
    assert!(
        output.contains("1 recorded, 0 delivered, 0 given up, 1 left"),
        "{output}"
    );
    aws.restart().unwrap();
    let (ended_well, output) = run(b"two\n");
    assert!(ended_well, "{output}");
    assert!(
        output.contains("1 recorded, 2 delivered, 0 given up, 0 left"),
        "{output}"
    );
}
