//! `pipe` delivers what it reads, and keeps the rest for its next start.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use amplify_test_endpoint::FakeAws;
use tempfile::TempDir;

use self::support::{assert_says, feed, finish, finish_well, program, terminate};

fn pipe(aws: &FakeAws, home: &TempDir) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_pipe"), aws, home.path());
    command.args(["--stream", "lines"]);
    command
}

fn arrived(aws: &FakeAws) -> Vec<String> {
    let records = aws.delivered("lines").into_iter();
    records
        .map(|record| String::from_utf8(record.data.to_vec()).unwrap())
        .collect()
}

#[test]
fn every_line_of_standard_input_arrives_in_order() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let lines: Vec<String> = (0..1200).map(|n| format!("line {n}")).collect();
    let mut child = pipe(&aws, &home).spawn().unwrap();
    // The last line has no line end.
    let input = lines.join("\n");
    feed(&mut child, input.as_bytes());
    let output = finish_well(child);
    assert_says(&output, "delivered                 1200");
    assert_eq!(arrived(&aws), lines);
}

#[test]
fn a_file_is_followed_until_the_program_is_told_to_end() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let path = home.path().join("app.log");
    std::fs::write(&path, "one\ntwo\nthr").unwrap();
    let child = pipe(&aws, &home)
        .arg("--follow")
        .arg(&path)
        .spawn()
        .unwrap();
    let limit = Duration::from_secs(60);
    aws.wait_until_blocking(limit, |aws| aws.delivered_count() == 2)
        .unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"ee\nfour\n").unwrap();
    aws.wait_until_blocking(limit, |aws| aws.delivered_count() == 4)
        .unwrap();
    terminate(&child);
    finish_well(child);
    assert_eq!(arrived(&aws), ["one", "two", "three", "four"]);
}

#[test]
fn what_cannot_be_delivered_is_left_for_the_next_start() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    aws.stop();
    let mut child = pipe(&aws, &home).spawn().unwrap();
    feed(&mut child, b"one\ntwo\n");
    let (ended_well, output) = finish(child);
    assert!(!ended_well, "{output}");
    assert_says(&output, "left for next time           2");

    aws.restart().unwrap();
    let mut again = pipe(&aws, &home).spawn().unwrap();
    feed(&mut again, b"");
    finish_well(again);
    assert_eq!(arrived(&aws), ["one", "two"]);
}

#[test]
fn it_ends_when_it_is_told_to_though_its_input_goes_on() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    let mut child = pipe(&aws, &home).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let limit = Duration::from_secs(60);
    aws.wait_until_blocking(limit, |aws| aws.delivered_count() == 1)
        .unwrap();
    terminate(&child);
    finish_well(child);
    drop(input);
}
