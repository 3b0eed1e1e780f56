//! Configures the client of a test, with every setting of both builders.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, Concatenation, DiscardedRecord,
    FlushStrategy, KplLimits, OverflowPolicy, RecordStore, SdkConfig,
};
use amplify_test_support::{FakeAws, Service};
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::client::Side;
use crate::{Case, Client, Discards, Failure, Kind, SdkClient, StoreKind};

/// All settings of both builders, initially unset.
#[derive(Clone, Debug)]
pub struct Setup {
    service: Service,
    place: Option<StoreKind>,
    region: Option<String>,
    credentials: Option<SharedCredentialsProvider>,
    sdk_config: Option<SdkConfig>,
    sdk_client: Option<SdkClient>,
    endpoint_url: Option<String>,
    name: Option<String>,
    storage_path: Option<PathBuf>,
    in_memory: bool,
    in_journal: bool,
    journal: Option<PathBuf>,
    store: Option<Arc<dyn RecordStore>>,
    kinesis: AmplifyKinesisClientOptions,
    firehose: AmplifyFirehoseClientOptions,
}

macro_rules! setters {
    ($($name:ident: $type:ty),+ $(,)?) => {$(
        pub fn $name(mut self, value: $type) -> Self {
            self.kinesis = self.kinesis.$name(value.clone());
            self.firehose = self.firehose.$name(value);
            self
        }
    )+};
}

impl Setup {
    /// A client of the endpoint that flushes only on demand and sends each request once.
    pub fn new(case: Case, aws: &FakeAws) -> Self {
        Self::of_endpoint(case, aws.endpoint_url())
    }

    /// The same for an endpoint in another process.
    pub fn of_endpoint(case: Case, url: String) -> Self {
        let mut setup = Self::bare(case.service)
            .region("eu-west-1")
            .credentials(Credentials::new("AKID", "SECRET", None, None, "test"))
            .endpoint_url(url)
            .sdk_config(one_attempt())
            .flush_strategy(FlushStrategy::None);
        setup.place = Some(case.store);
        setup
    }

    /// A builder with nothing set.
    pub fn bare(service: Service) -> Self {
        Self {
            service,
            place: None,
            region: None,
            credentials: None,
            sdk_config: None,
            sdk_client: None,
            endpoint_url: None,
            name: None,
            storage_path: None,
            in_memory: false,
            in_journal: false,
            journal: None,
            store: None,
            kinesis: AmplifyKinesisClientOptions::default(),
            firehose: AmplifyFirehoseClientOptions::default(),
        }
    }

    setters! {
        cache_max_bytes: u64,
        max_retries: u32,
        flush_strategy: FlushStrategy,
        durability: amplify_kinesis::Durability,
        request_timeout: Duration,
        max_record_bytes: u64,
        max_concurrent_streams: usize,
        overflow_policy: OverflowPolicy,
        max_record_age: Option<Duration>,
        max_in_flight_per_stream: usize,
        max_stream_share: Option<u64>,
    }

    /// Puts several events in one record: in the KPL format for Kinesis, as lines for Firehose.
    pub fn aggregated(self) -> Self {
        let lines = amplify_firehose::Aggregation::Concatenate(Concatenation::default());
        let mut setup = self.kpl(KplLimits::default());
        setup.firehose.aggregation = lines;
        setup
    }

    /// Kinesis only.
    pub fn kpl(mut self, limits: KplLimits) -> Self {
        self.kinesis.aggregation = amplify_kinesis::Aggregation::Kpl(limits);
        self
    }

    pub fn concatenated(mut self, joined: Concatenation) -> Self {
        self.kinesis.aggregation = amplify_kinesis::Aggregation::Concatenate(joined.clone());
        self.firehose.aggregation = amplify_firehose::Aggregation::Concatenate(joined);
        self
    }

    /// Firehose only.
    pub fn record_delimiter(mut self, delimiter: &'static str) -> Self {
        self.firehose = self.firehose.record_delimiter(delimiter);
        self
    }

    /// Runs a pass this long after the last one.
    pub fn flush_every(self, interval: Duration) -> Self {
        self.flush_strategy(FlushStrategy::Interval(interval))
    }

    pub fn on_discard(
        mut self,
        handler: impl Fn(DiscardedRecord) + Clone + Send + Sync + 'static,
    ) -> Self {
        self.kinesis = self.kinesis.on_discard(handler.clone());
        self.firehose = self.firehose.on_discard(handler);
        self
    }

    pub fn discards(self, discards: &Discards) -> Self {
        let discards = discards.clone();
        self.on_discard(move |record| discards.push(record))
    }

    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    pub fn credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    pub fn sdk_config(mut self, config: SdkConfig) -> Self {
        self.sdk_config = Some(config);
        self
    }

    /// Uses the SDK's own settings: up to three attempts per request.
    pub fn default_attempts(mut self) -> Self {
        self.sdk_config = None;
        self
    }

    pub fn sdk_client(mut self, client: SdkClient) -> Self {
        self.sdk_client = Some(client);
        self
    }

    pub fn storage_path(mut self, path: &Path) -> Self {
        self.place = None;
        self.storage_path = Some(path.to_owned());
        self
    }

    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Keeps records in the default directory.
    pub fn default_directory(mut self) -> Self {
        self.place = None;
        self
    }

    pub fn in_memory(mut self) -> Self {
        self.place = None;
        self.in_memory = true;
        self
    }

    /// Uses the default directory, with the index in memory.
    pub fn in_journal(mut self) -> Self {
        self.place = None;
        self.in_journal = true;
        self
    }

    pub fn journal(mut self, path: &Path) -> Self {
        self.place = None;
        self.journal = Some(path.to_owned());
        self
    }

    /// Uses this directory with the case's store, or memory if that is its store.
    pub fn at(self, path: &Path) -> Self {
        match self.place {
            Some(StoreKind::Memory) => self.in_memory(),
            Some(StoreKind::Journal) => self.journal(path),
            Some(StoreKind::Sled | StoreKind::TinySled) | None => self.storage_path(path),
        }
    }

    pub fn store(mut self, store: Arc<dyn RecordStore>) -> Self {
        self.place = None;
        self.store = Some(store);
        self
    }

    pub async fn build(self) -> Client {
        self.try_build().await.unwrap()
    }

    /// Builds the client once the last user has released the directory.
    pub async fn build_when_free(self) -> Client {
        const LIMIT: Duration = Duration::from_secs(30);
        let building = async {
            loop {
                match self.clone().try_build().await {
                    Ok(client) => return client,
                    Err(error) => assert_eq!(error.kind, Kind::Storage, "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, building).await.unwrap()
    }

    pub async fn try_build(mut self) -> Result<Client, Failure> {
        let temporary = match self.place {
            None | Some(StoreKind::Memory) => None,
            Some(_) => Some(Arc::new(tempfile::tempdir().unwrap())),
        };
        if self.place.is_some() {
            let directory = temporary.as_ref().map(|directory| directory.path());
            self = self.at(&directory.unwrap_or(Path::new("")).join("cache"));
        }
        let side = match self.service {
            Service::Kinesis => Side::Kinesis(self.kinesis_builder().build().await?),
            Service::Firehose => Side::Firehose(self.firehose_builder().build().await?),
        };
        Ok(Client {
            side,
            _directory: temporary,
        })
    }

    /// `Debug` of the client's own builder.
    pub fn builder_debug(self) -> String {
        match self.service {
            Service::Kinesis => format!("{:?}", self.kinesis_builder()),
            Service::Firehose => format!("{:?}", self.firehose_builder()),
        }
    }
}

macro_rules! builder {
    ($name:ident, $client:ident, $side:ident, $options:ident, $given:ident) => {
        impl Setup {
            fn $name(self) -> amplify_builders::$side {
                let mut builder = $client::builder().options(self.$options);
                if let Some(region) = self.region {
                    builder = builder.region(region);
                }
                if let Some(provider) = self.credentials {
                    builder = builder.credentials_provider(provider);
                }
                if let Some(config) = &self.sdk_config {
                    builder = builder.sdk_config(config);
                }
                if let Some(SdkClient::$side(client)) = self.sdk_client {
                    builder = builder.$given(client);
                }
                if let Some(url) = self.endpoint_url {
                    builder = builder.endpoint_url(url);
                }
                if let Some(name) = self.name {
                    builder = builder.name(name);
                }
                if let Some(path) = self.storage_path {
                    builder = builder.storage_path(path);
                }
                if self.in_memory {
                    builder = builder.in_memory();
                }
                if self.in_journal {
                    builder = builder.in_journal();
                }
                if let Some(path) = self.journal {
                    builder = builder.journal(path);
                }
                if let Some(store) = self.store {
                    builder = builder.store(store);
                }
                builder
            }
        }
    };
}
builder!(
    kinesis_builder,
    AmplifyKinesisClient,
    Kinesis,
    kinesis,
    kinesis_client
);
builder!(
    firehose_builder,
    AmplifyFirehoseClient,
    Firehose,
    firehose,
    firehose_client
);

mod amplify_builders {
    pub(super) use amplify_firehose::AmplifyFirehoseClientBuilder as Firehose;
    pub(super) use amplify_kinesis::AmplifyKinesisClientBuilder as Kinesis;
}

/// SDK settings that send each request once, which saves seconds of retries on a refusal.
pub fn one_attempt() -> SdkConfig {
    SdkConfig::builder()
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .build()
}
