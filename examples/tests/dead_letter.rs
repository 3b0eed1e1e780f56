//! `dead_letter` keeps discarded records and records them again.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::process::Child;

use amplify_test_endpoint::FakeAws;
use tempfile::TempDir;

use self::support::{assert_says, feed, finish, finish_well, program};

/// Starts the program with these arguments and this input.
fn start(aws: &FakeAws, home: &TempDir, arguments: &[&str], input: &[u8]) -> Child {
    let mut command = program(env!("CARGO_BIN_EXE_dead_letter"), aws, home.path());
    let mut child = command.args(arguments).spawn().unwrap();
    feed(&mut child, input);
    child
}

#[test]
fn what_is_given_up_goes_to_the_file_and_back() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str], input| finish_well(start(&aws, &home, arguments, input));
    let letters = home.path().join("dead-letters.jsonl");

    // The stream does not exist, so each attempt is charged to the records.
    aws.only_streams(["another"]);
    let send = ["send", "--stream", "orders", "--max-retries", "0"];
    let output = run(&send, b"one\ntwo\n");
    assert_says(&output, "2 recorded, 0 delivered, 2 given up, 0 left");
    let text = fs::read_to_string(&letters).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_says(&text, "ResourceNotFoundException");

    // Letters may be edited: give the first a hash key. It is discarded again.
    let key = r#""partition_key":"line-0","#;
    let hashed = format!(r#"{key}"explicit_hash_key":"{}","#, u128::MAX);
    assert_says(&text, key);
    fs::write(&letters, text.replace(key, &hashed)).unwrap();
    run(&["back", "--max-retries", "0"], b"");
    let text = fs::read_to_string(&letters).unwrap();
    assert_says(&text, &hashed);

    aws.all_streams();
    run(&["back"], b"");
    let [one, two] = aws.delivered("orders").try_into().unwrap();
    assert_eq!((&one.data[..], &two.data[..]), (&b"one"[..], &b"two"[..]));
    assert_eq!(two.partition_key.as_deref(), Some("line-1"));
    assert_eq!(one.explicit_hash_key, Some(u128::MAX.to_string()));
    assert_eq!(two.explicit_hash_key, None);
    assert!(!letters.exists(), "the letters were taken");

    let (ended_well, output) = finish(start(&aws, &home, &["back"], b""));
    assert!(!ended_well, "{output}");
    assert_says(&output, "no letters in");
}

#[test]
fn without_a_network_lines_wait_for_the_next_run() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let send = ["send", "--stream", "orders"];
    let run = |input| finish_well(start(&aws, &home, &send, input));
    aws.stop();
    let output = run(b"one\n");
    assert_says(&output, "1 recorded, 0 delivered, 0 given up, 1 left");
    aws.restart().unwrap();
    let output = run(b"two\n");
    assert_says(&output, "1 recorded, 2 delivered, 0 given up, 0 left");
}
