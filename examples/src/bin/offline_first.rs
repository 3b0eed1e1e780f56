//! The life of a desktop app that is offline for most of it.
//!
//! The app's own code says `telemetry.track(..)` and never hears of networks, retries or disks.
//! Run it twice: what the first run could not deliver is waiting in the second.

use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, FlushStrategy,
    KinesisStream, NoAnswer, OverflowPolicy,
};

/// What the rest of the app sees.
struct Telemetry {
    client: AmplifyKinesisClient,
    events: KinesisStream,
    installation: String,
}

impl Telemetry {
    /// At the start of the app. Needs no network.
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

    /// On every event. An app does not fail because its telemetry does.
    async fn track(&self, event: &str) {
        // One installation's events share a key, so they stay in order.
        if let Err(error) = self.events.record(event, &self.installation).await {
            eprintln!("{event} was not recorded: {error}");
        }
    }

    /// In the settings of the app: consent is given or withdrawn.
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

    /// When the system says that the network is back; the timer would come to it as well.
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

    /// When the user quits: at once. What waits is on disk.
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
