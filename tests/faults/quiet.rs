//! Opening a directory, whether new or existing, must cause no warning, neither from this project's
//! crates nor from their dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use amplify_kinesis::Durability;
use integration_tests::{Case, Endpoint, Home, Log, SERVICES, Setup, StoreKind, role};
use record_cache::{NewRecord, StreamName};
use tracing_subscriber::filter::LevelFilter;

const TEST: &str = "quiet::a_directory_that_is_new_or_in_order_is_nothing_to_warn_of";

/// Collects everything logged, through `log` or `tracing`.
fn listen() -> Log {
    let log = Log::default();
    let writer = log.clone();
    // sled writes to `log`, which the subscriber captures too.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .init();
    log::warn!("heard of a library");
    tracing::warn!("heard of ourselves");
    log
}

#[tokio::test]
async fn a_directory_that_is_new_or_in_order_is_nothing_to_warn_of() {
    if role().is_none() {
        let output = Home::make().child(TEST, "quiet").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let log = listen();
    let stream = StreamName::new("a").unwrap();
    for kind in [StoreKind::Sled, StoreKind::TinySled, StoreKind::Journal] {
        let place = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let durability = Durability::PowerLoss;
            let store = kind.open(place.path(), durability, 1 << 20).await.unwrap();
            let new = (0..300).map(|n| NewRecord::new(stream.clone(), None, format!("{n}")));
            store.append(new.collect()).await.unwrap();
            store.close().await.unwrap();
        }
        let indexed = place.path().join("index-1").is_dir();
        assert_eq!(indexed, kind == StoreKind::TinySled, "sled was at work");
    }
    let aws = Endpoint::start();
    for service in SERVICES {
        for _ in 0..3 {
            let setup = Setup::new(Case::new(service, StoreKind::Sled), &aws);
            let client = setup.default_directory().build().await;
            client.record("stream", "1").await.unwrap();
            client.flush().await.unwrap();
            client.close().await.unwrap();
        }
    }
    let logged = log.text();
    let lines: Vec<_> = logged.lines().collect();
    assert!(
        lines.len() >= 2 && lines[0].contains("heard of a library"),
        "{logged}"
    );
    assert!(lines[1].contains("heard of ourselves"), "{logged}");
    assert_eq!(lines.len(), 2, "{logged}");
}

/// Checks for the two targets that `docs/observability.md` promises.
#[test]
fn every_line_is_logged_under_a_target_that_is_documented() {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let mut seen = BTreeMap::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = path.components().any(|part| part.as_os_str() == "src");
            if path.is_dir() {
                directories.push(path);
            } else if is_ours && path.extension().is_some_and(|end| end == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                for level in LEVELS {
                    for name in [
                        format!("tracing::{level}!("),
                        format!("tracing::{level}_span!("),
                    ] {
                        for call in source.split(&name).skip(1) {
                            let target = call.trim_start().split(',').next().unwrap();
                            *seen.entry(target.to_owned()).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
    }
    let targets: Vec<_> = seen.keys().map(String::as_str).collect();
    let documented = [
        "target: \"record_cache\"",
        "target: TARGET",
        "target: log::TARGET",
    ];
    assert!(
        targets.iter().all(|target| documented.contains(target)),
        "{seen:?}"
    );
    assert!(seen.values().sum::<i32>() >= 30, "{seen:?}");
}
