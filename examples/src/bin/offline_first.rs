//! A desktop app that is offline most of the time.
//!
//! The app's own code calls `telemetry.track(..)` and never deals with networks, retries or disks.
//! Run it twice: the second run finds what the first could not deliver.

use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, FlushStrategy,
    KinesisStream, NoAnswer, OverflowPolicy,
};

/// The interface for the rest of the app.
struct Telemetry {
    client: AmplifyKinesisClient,
    events: KinesisStream,
    installation: String,
}

impl Telemetry {
    /// Called when the app starts. Needs no network.
    async fn open(installation: &str) -> Result<Self, AmplifyKinesisError> {
        let options = AmplifyKinesisClientOptions::default()
            .cache_max_bytes(20 * 1024 * 1024)
            .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)))
            // After weeks without a network, new events are worth more than old ones.
            .overflow_policy(OverflowPolicy::DropOldest);
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let client = AmplifyKinesisClient::builder()
            .sdk_config(&config)
            .name("offline-first")
            .options(options)
            .build()
            .await?;
        Ok(Self {
            events: client.stream("app-events")?,
            client,
            installation: installation.to_owned(),
        })
    }

    /// Called on every event. The app does not fail if its telemetry does.
    async fn track(&self, event: &str) {
        // One installation's events share a key, so they stay in order.
        if let Err(error) = self.events.record(event, &self.installation).await {
            eprintln!("{event} was not recorded: {error}");
        }
    }

    /// Called from the app's settings, when consent is given or withdrawn.
    async fn consent(&self, given: bool) -> Result<(), AmplifyKinesisError> {
        if given {
            self.client.enable();
            return Ok(());
        }
        self.client.disable();
        let cleared = self.client.clear_cache().await?;
        println!(
            "consent withdrawn; {} events deleted",
            cleared.records_cleared
        );
        Ok(())
    }

    /// Called when the system reports a network; the timer would deliver anyway.
    async fn network_is_back(&self) {
        match self.client.flush().await {
            Ok(done) => {
                println!("{} events delivered", done.records_flushed);
                for skipped in done.skipped_streams {
                    println!("{}: {}", skipped.stream_name, skipped.message);
                }
            }
            Err(error) if error.reason() == Some(NoAnswer::Offline) => println!("still offline"),
            Err(error) => println!("{error}; {}", error.recovery_suggestion()),
        }
    }

    /// For a status line.
    fn status(&self) -> String {
        let waiting = self.client.cache_stats();
        format!("{} events wait, {} bytes", waiting.records, waiting.bytes)
    }

    /// Called when the user quits. Returns at once; the backlog is on disk.
    async fn quit(self) -> Result<(), AmplifyKinesisError> {
        self.client.close().await
    }
}

#[tokio::main]
async fn main() -> Result<(), AmplifyKinesisError> {
    let telemetry = Telemetry::open("installation-7").await?;
    println!("from last time: {}", telemetry.status());

    telemetry.track("started").await;
    telemetry.track("opened a document").await;
    println!("{}", telemetry.status());

    telemetry.network_is_back().await;
    println!("{}", telemetry.status());

    telemetry.consent(false).await?;
    telemetry.track("is not recorded").await;
    telemetry.consent(true).await?;

    telemetry.track("quit").await;
    println!("for next time: {}", telemetry.status());
    telemetry.quit().await
}
