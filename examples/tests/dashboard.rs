//! The dashboard and the alerts of the documentation, in a real Prometheus.
//!
//! It uses the Prometheus on the `PATH`, or Debian's package unpacked below `target/`.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use amplify_test_endpoint::{FakeAws, Reply};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::support::{address_of, program, terminate};

const DASHBOARD: &str = include_str!("../../docs/grafana-dashboard.json");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const PATIENCE: Duration = Duration::from_secs(90);

/// A child process, killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Found once, so tests that run in parallel do not both unpack it.
fn prometheus() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find)
}

fn find() -> PathBuf {
    let works = |path: &Path| {
        let version = Command::new(path).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let on_path = PathBuf::from("prometheus");
    if works(&on_path) {
        return on_path;
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    let unpacked = home.join("usr/bin/prometheus");
    if !works(&unpacked) {
        fs::create_dir_all(&home).unwrap();
        let script = "(apt-get download prometheus || { apt-get update && apt-get download prometheus; }) && \
                      dpkg -x prometheus_*.deb .";
        let mut shell = Command::new("sh");
        let ended = shell.args(["-c", script]).current_dir(&home).status();
        assert!(ended.unwrap().success(), "{script}");
    }
    unpacked
}

/// Prometheus's own tool, which comes with it.
fn promtool() -> PathBuf {
    prometheus().with_file_name("promtool")
}

/// Series, and the alerts that fire at a time: names, and instances.
const FIRES: &str = r#"
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - name: a first loss, of a counter that appears with it
    interval: 1m
    input_series:
      - series: amplify_discarded_records_total{stream="s", reason="expired", instance="a"}
        values: _x10 500x40
      - series: amplify_refused_records_total{stream="s", instance="a"}
        values: _x10 3x40
    promql_expr_test: &lost
      - expr: count by (alertname, instance) (ALERTS{alertstate="firing"})
        eval_time: 12m
        exp_samples:
          - {labels: '{alertname="RecordsLost", instance="a"}', value: 1}
          - {labels: '{alertname="RecordsRefused", instance="a"}', value: 1}
      - expr: ALERTS
        eval_time: 40m
        exp_samples: []
  - name: a first loss, of a counter that starts at zero
    interval: 1m
    input_series:
      - series: amplify_discarded_records_total{stream="s", reason="expired", instance="a"}
        values: 0x10 500x40
      - series: amplify_refused_records_total{stream="s", instance="a"}
        values: 0x10 3x40
    promql_expr_test: *lost
  - name: one broken instance beside a healthy one, a full cache and old records
    interval: 1m
    input_series:
      - series: amplify_requests_total{stream="s", outcome="no_answer", instance="a"}
        values: 0+5x60
      - series: amplify_requests_total{stream="s", outcome="accepted", instance="b"}
        values: 0+5x60
      - series: amplify_cached_bytes{instance="a"}
        values: 80x60
      - series: amplify_cached_bytes{instance="b"}
        values: 60x60
      - series: amplify_cache_limit_bytes{instance="a"}
        values: 100x60
      - series: amplify_cache_limit_bytes{instance="b"}
        values: 100x60
      - series: amplify_oldest_record_seconds{stream="s", instance="a"}
        values: 3601x60
      - series: amplify_oldest_record_seconds{stream="s", instance="b"}
        values: 3599x60
    promql_expr_test:
      - expr: count by (alertname, instance) (ALERTS{alertstate="firing"})
        eval_time: 50m
        exp_samples:
          - {labels: '{alertname="CacheFills", instance="a"}', value: 1}
          - {labels: '{alertname="NothingDelivered", instance="a"}', value: 1}
          - {labels: '{alertname="RecordsOld", instance="a"}', value: 1}
"#;

#[test]
#[ignore = "may download Prometheus; the end-to-end step of CI runs it"]
fn every_alert_fires_when_it_should_and_only_then() {
    let home = tempfile::tempdir().unwrap();
    write_alerts(home.path());
    fs::write(home.path().join("tests.yml"), FIRES).unwrap();
    let mut promtool = Command::new(promtool());
    promtool.args(["test", "rules", "tests.yml"]);
    let output = promtool.current_dir(home.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// The body of an answer to a GET, or to a POST if there is a form.
fn ask(address: &str, path: &str, form: Option<&str>) -> Option<String> {
    let (method, body) = form.map_or(("GET", ""), |form| ("POST", form));
    // In HTTP 1.0, no answer comes in chunks.
    let answer = support::ask(address, &format!("{method} {path} HTTP/1.0"), body)?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The `data` of an answer from Prometheus; a refusal fails the test.
fn data(address: &str, path: &str, form: Option<&str>) -> Option<Value> {
    let body = ask(address, path, form)?;
    let mut answer: Value = serde_json::from_str(&body).ok()?;
    assert_eq!(answer["status"], "success", "{path} {form:?}: {body}");
    Some(answer["data"].take())
}

async fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The queries of all panels, with every client, region and stream chosen.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| {
        let query = target["expr"].as_str().unwrap();
        let query = ["$client", "$region", "$stream"]
            .iter()
            .fold(query.to_owned(), |query, name| query.replace(name, ".*"));
        query.replace("$__rate_interval", "1m")
    });
    queries.collect()
}

/// The block of alerts in the documentation.
fn alerts() -> &'static str {
    let (_, rest) = OPERATIONS.split_once("```yaml\ngroups:").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block
}

fn write_alerts(folder: &Path) {
    let rules = format!("groups:{}", alerts());
    fs::write(folder.join("alerts.yml"), rules).unwrap();
}

#[tokio::test]
#[ignore = "may download Prometheus; the end-to-end step of CI runs it"]
async fn a_prometheus_answers_every_query_of_the_dashboard_and_takes_every_alert() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    aws.script(Reply::fail_at([0], "InternalFailure"));
    let mut app = program(env!("CARGO_BIN_EXE_axum_events"), &aws, home.path())
        .args(["--stream", "events", "--listen", "127.0.0.1:0"])
        .args(["--cache", "cache"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let app_address = address_of(&mut app);
    let mut app = Running(app);

    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let scrapes = format!(
        "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\n\
         rule_files: [alerts.yml]\n\
         scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{app_address}']}}]}}]\n"
    );
    fs::write(home.path().join("prometheus.yml"), scrapes).unwrap();
    write_alerts(home.path());
    let child = Command::new(prometheus())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Running(child.unwrap());

    for query in queries() {
        let form = format!("query={}", encoded(&query));
        wait_for(&format!("no sample answers {query}"), || {
            // Generate constant traffic, so the queries find rates.
            ask(&app_address, "/events/sign-up", Some("{}"));
            let answer = data(&address, "/api/v1/query", Some(&form))?;
            let samples = answer["result"].as_array()?.len();
            (samples > 0).then_some(())
        })
        .await;
    }

    let rules = wait_for("no rules were evaluated", || {
        let rules = data(&address, "/api/v1/rules", None)?;
        let rules = rules["groups"][0]["rules"].as_array()?.clone();
        let is_known = |rule: &Value| rule["health"] != "unknown";
        rules.iter().all(is_known).then_some(rules)
    })
    .await;
    assert_eq!(rules.len(), alerts().matches("- alert:").count());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    terminate(&app.0);
    wait_for("the app does not end", || app.0.try_wait().unwrap()).await;
}
