//! The Python and Node readers of the KPL format, installed where a test asks.
//!
//! A case is an object. Its `record` is a record in base64. Its `events` each have a partition key,
//! an explicit hash key or null, and the payload in base64.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

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

/// Runs both readers on all cases. In each result, `read` holds the events in the form of a case.
/// Python's result also has `written`, the record that its aggregator makes from the events.
///
/// # Panics
/// If a reader cannot be installed or fails.
pub fn read(cases: &[Value], directory: &Path) -> [(&'static str, Vec<Value>); 2] {
    [
        ("python", python(&directory.join("python"))),
        ("node", node(&directory.join("node"))),
    ]
    .map(|(reader, program)| {
        let answers = run(&program, cases);
        (reader, answers.as_array().unwrap().clone())
    })
}

/// A program that reads cases from its input.
struct Program {
    path: PathBuf,
    arguments: [&'static str; 2],
    directory: PathBuf,
}

fn python(directory: &Path) -> Program {
    let path = directory.join("bin/python");
    install_once(directory, || {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(directory));
        let packages = ["aws-kinesis-agg==1.2.3", "six==1.17.0"];
        let mut pip = Command::new(&path);
        succeed(pip.args(["-m", "pip", "install", "--quiet"]).args(packages));
    });
    Program {
        path,
        arguments: ["-c", PYTHON],
        directory: directory.to_owned(),
    }
}

fn node(directory: &Path) -> Program {
    install_once(directory, || {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("package.json"), "{}").unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        succeed(npm.arg("aws-kinesis-agg@4.2.8").current_dir(directory));
    });
    Program {
        path: "node".into(),
        arguments: ["-e", NODE],
        directory: directory.to_owned(),
    }
}

fn install_once(directory: &Path, install: impl FnOnce()) {
    let ready = directory.join("ready");
    if !ready.exists() {
        install();
        fs::write(ready, "").unwrap();
    }
}

fn succeed(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn run(program: &Program, cases: &[Value]) -> Value {
    let input = program.directory.join("cases.json");
    fs::write(&input, serde_json::to_vec(cases).unwrap()).unwrap();
    let output = Command::new(&program.path)
        .args(program.arguments)
        .current_dir(&program.directory)
        .stdin(fs::File::open(input).unwrap())
        .output()
        .unwrap();
    if !output.status.success() {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).unwrap()
}
