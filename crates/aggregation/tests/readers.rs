//! What the KPL's readers of Python and Node make of our records, byte for byte.
//!
//! `cargo test -p aggregation --test readers -- --ignored` installs them below `target/`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aggregation::kpl::Encoder;
use aggregation::{Event, KplLimits};
use base64_simd::STANDARD;
use serde_json::{Value, json};

const PYTHON: &str = r#"
import base64, json, sys
from aws_kinesis_agg.aggregator import AggRecord
from aws_kinesis_agg.deaggregator import deaggregate_records

def read(record):
    kinesis = {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0,
               "partitionKey": "outer", "data": record}
    users = deaggregate_records([{"kinesis": kinesis}])
    return [[u["kinesis"]["partitionKey"], u["kinesis"]["explicitHashKey"], u["kinesis"]["data"].decode()]
            for u in users]

def write(events):
    record = AggRecord()
    for key, hash_key, data in events:
        assert record.add_user_record(key, base64.b64decode(data), hash_key)
    return base64.b64encode(record.get_contents()[2]).decode()

cases = json.load(sys.stdin)
print(json.dumps([{"read": read(c["record"]), "written": write(c["events"])} for c in cases]))
"#;

const NODE: &str = r#"
const { deaggregateSync } = require("aws-kinesis-agg");
const cases = JSON.parse(require("fs").readFileSync(0));
const read = (record) => {
  let read;
  deaggregateSync({ data: record, partitionKey: "outer", sequenceNumber: "1" }, true, (error, users) => {
    if (error) throw error;
    read = users.map((u) => [u.partitionKey, u.explicitPartitionKey ?? null, u.data]);
  });
  return read;
};
console.log(JSON.stringify(cases.map((c) => ({ read: read(c.record) }))));
"#;

#[test]
#[ignore = "installs the readers, which needs python3, npm and their registries"]
fn the_readers_of_python_and_node_read_what_was_put_in() {
    let cases = cases();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
    for (reader, answers) in [
        ("python", run(&python(&target.join("python")), &cases)),
        ("node", run(&node(&target.join("node")), &cases)),
    ] {
        let answers = answers.as_array().unwrap();
        assert_eq!(answers.len(), cases.len());
        for (case, answer) in cases.iter().zip(answers) {
            assert_eq!(answer["read"], case["events"], "{reader}");
            if reader == "python" {
                assert_eq!(
                    answer["written"], case["record"],
                    "the aggregator of {reader}"
                );
            }
        }
    }
}

/// Records of ours and what is in them.
fn cases() -> Vec<Value> {
    let large = vec![0xab; 20_000];
    let keys: Vec<String> = (0..200).map(|n| format!("clé-{n}")).collect();
    let many = |explicit: bool| -> Vec<Event<'_>> {
        (0..300_u128)
            .map(|n| {
                let key = usize::try_from(n * 7 % 200).unwrap();
                let event = Event::new(&keys[key], keys[key].as_bytes());
                if explicit {
                    event.with_explicit_hash_key(u128::MAX - n * n * 1_000_000_007)
                } else {
                    event
                }
            })
            .collect()
    };
    let few = vec![
        Event::new("a", b"one"),
        Event::new("a", b""),
        Event::new("b", &large),
        Event::new("\u{1f600}", b"\x00\xff"),
    ];
    let explicit = |events: &[Event<'static>]| -> Vec<Event<'static>> {
        let explicit = |(n, event): (u128, &Event<'static>)| event.with_explicit_hash_key(n);
        (0..).zip(events).map(explicit).collect()
    };
    let small = [
        Event::new("k", b"x"),
        Event::new("k", b"y"),
        Event::new("l", b"z"),
    ];
    [
        few,
        many(false),
        many(true),
        explicit(&small),
        small.to_vec(),
    ]
    .iter()
    .map(|events| {
        let mut encoder = Encoder::new(KplLimits::default());
        for event in events {
            assert!(encoder.push(*event), "the case is too large");
        }
        let events = events.iter().map(|event| {
            json!([
                event.partition_key,
                event.explicit_hash_key.map(|key| key.to_string()),
                STANDARD.encode_to_string(event.data),
            ])
        });
        json!({
            "record": STANDARD.encode_to_string(encoder.encode()),
            "events": events.collect::<Vec<_>>(),
        })
    })
    .collect()
}

/// A program that reads cases from its input.
struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
}

fn python(directory: &Path) -> Program {
    let path = directory.join("bin/python");
    if !directory.join("ready").exists() {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(directory)
            .status();
        assert!(made.unwrap().success());
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "aws-kinesis-agg==1.2.3",
            "six==1.17.0",
        ];
        assert!(
            Command::new(&path)
                .args(install)
                .status()
                .unwrap()
                .success()
        );
        fs::write(directory.join("ready"), "").unwrap();
    }
    Program {
        path,
        arguments: vec!["-c".to_owned(), PYTHON.to_owned()],
        directory: directory.to_owned(),
    }
}

fn node(directory: &Path) -> Program {
    if !directory.join("ready").exists() {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("package.json"), "{}").unwrap();
        let install = [
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "aws-kinesis-agg@4.2.8",
        ];
        let installed = Command::new("npm")
            .args(install)
            .current_dir(directory)
            .status();
        assert!(installed.unwrap().success());
        fs::write(directory.join("ready"), "").unwrap();
    }
    Program {
        path: "node".into(),
        arguments: vec!["-e".to_owned(), NODE.to_owned()],
        directory: directory.to_owned(),
    }
}

fn run(program: &Program, cases: &[Value]) -> Value {
    let input = program.directory.join("cases.json");
    fs::write(&input, serde_json::to_vec(cases).unwrap()).unwrap();
    let output = Command::new(&program.path)
        .args(&program.arguments)
        .current_dir(&program.directory)
        .stdin(fs::File::open(input).unwrap())
        .output()
        .unwrap();
    if !output.status.success() {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).unwrap()
}
