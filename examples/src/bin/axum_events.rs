//! A web service that accepts events and answers as soon as they are on disk.
//!
//! ```console
//! $ axum_events --stream events &
//! listening on http://127.0.0.1:3000
//! $ curl --json '{"user": "u-7"}' http://127.0.0.1:3000/events/sign-up
//! $ curl http://127.0.0.1:3000/metrics
//! ```
//!
//! On SIGTERM or Ctrl-C it accepts no more connections, finishes the requests in flight, and
//! delivers for as long as an orchestrator allows. The rest stays on disk for the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, Bytes, CloseOptions,
    FlushStrategy, KinesisStream,
};
use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
struct Flags {
    /// The stream to send events to.
    #[arg(long)]
    stream: String,
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where events are cached [default: below the local data directory].
    #[arg(long, value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
}

#[derive(Clone)]
struct App {
    client: AmplifyKinesisClient,
    events: KinesisStream,
    metrics: PrometheusHandle,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    // The SDK prints whole requests at TRACE, so `RUST_LOG=trace` is not for production.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // Installed before the client, so it misses nothing.
    let metrics = PrometheusBuilder::new().install_recorder()?;

    let client = client(flags.cache).await?;
    let app = App {
        events: client.stream(flags.stream)?,
        client: client.clone(),
        metrics,
    };
    let router = Router::new()
        .route("/events/{kind}", post(record))
        .route("/health", get(health))
        .route(
            "/metrics",
            get(async |State(app): State<App>| app.metrics.render()),
        )
        .with_state(app);

    let listener = TcpListener::bind(flags.listen).await?;
    let stop = shutdown()?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await?;

    // Kubernetes kills 30 s after SIGTERM; this leaves time for the last request.
    let last_chance = CloseOptions::default().drain(Duration::from_secs(20));
    match client.close_with(last_chance).await {
        Ok(done) => tracing::info!(
            delivered = done.records_flushed,
            left = client.cache_stats().records,
            skipped = done.skipped_streams.len(),
            "closed"
        ),
        Err(error) => tracing::warn!(%error, "closed; what is left is on disk"),
    }
    Ok(())
}

async fn client(cache: Option<PathBuf>) -> Result<AmplifyKinesisClient> {
    let options = AmplifyKinesisClientOptions::default()
        .cache_max_bytes(256 * 1024 * 1024)
        .flush_strategy(FlushStrategy::Adaptive {
            max_delay: Duration::from_secs(1),
            max_records: 500,
            max_bytes: 4 * 1024 * 1024,
        })
        .on_discard(|record| tracing::error!(stream = record.stream_name, reason = ?record.reason, "an event is lost"));
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let mut builder = AmplifyKinesisClient::builder()
        .sdk_config(&config)
        .options(options);
    if let Some(directory) = cache {
        builder = builder.storage_path(directory);
    }
    Ok(builder.build().await?)
}

async fn record(
    State(app): State<App>,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<StatusCode, (StatusCode, String)> {
    match app.events.record(body, kind).await {
        Ok(_) => Ok(StatusCode::ACCEPTED),
        Err(error) => Err((status(&error), error.message().to_owned())),
    }
}

/// Maps an error to what the caller can do about it.
fn status(error: &AmplifyKinesisError) -> StatusCode {
    match error {
        AmplifyKinesisError::Validation { .. } => StatusCode::BAD_REQUEST,
        AmplifyKinesisError::LimitExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn health(State(app): State<App>) -> Json<Value> {
    let cached = app.client.cache_stats();
    Json(json!({ "records": cached.records, "bytes": cached.bytes }))
}

/// Resolves on Ctrl-C or SIGTERM.
fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("shutting down");
    })
}
