//! Configures the client of a test, with every setting of both builders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClientBuilder, AmplifyFirehoseClientOptions};
use amplify_kinesis::{
    AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions, Concatenation, DiscardedRecord,
    FlushStrategy, KplLimits, OverflowPolicy, RecordStore, SdkConfig,
};
use amplify_test_support::{FakeAws, Service};
use aws_config::retry::RetryConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::client::Side;
use crate::events::END_OF_EVENT;
use crate::{Case, Client, Discards, Failure, Kind, SdkClient, StoreKind, credentials};

/// Both builders with the same settings, and their options, initially unset.
#[derive(Clone, Debug)]
pub struct Setup {
    service: Service,
    /// The store to use, unless a setting says where records are kept.
    place: Option<StoreKind>,
    kinesis_builder: AmplifyKinesisClientBuilder,
    firehose_builder: AmplifyFirehoseClientBuilder,
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

/// Makes the same call on both builders.
macro_rules! on_both_builders {
    ($setup:ident.$name:ident($($value:expr)?)) => {
        Self {
            kinesis_builder: $setup.kinesis_builder.$name($($value)?),
            firehose_builder: $setup.firehose_builder.$name($($value)?),
            ..$setup
        }
    };
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
            .credentials(credentials())
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
            kinesis_builder: AmplifyKinesisClientBuilder::default(),
            firehose_builder: AmplifyFirehoseClientBuilder::default(),
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

    /// The same for payloads of any bytes, which [`shared`](crate::shared) tells apart.
    pub fn sharing_records(self) -> Self {
        let joined = Concatenation::default().delimiter(END_OF_EVENT);
        self.concatenated(joined).kpl(KplLimits::default())
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

    pub fn region(self, region: &str) -> Self {
        on_both_builders!(self.region(region))
    }

    pub fn credentials(self, provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        Self {
            kinesis_builder: self.kinesis_builder.credentials_provider(provider.clone()),
            firehose_builder: self.firehose_builder.credentials_provider(provider),
            ..self
        }
    }

    pub fn endpoint_url(self, url: impl Into<String>) -> Self {
        let url = &*url.into();
        on_both_builders!(self.endpoint_url(url))
    }

    pub fn sdk_config(self, config: SdkConfig) -> Self {
        on_both_builders!(self.sdk_config(&config))
    }

    /// Uses the SDK's own settings: up to three attempts per request.
    pub fn default_attempts(self) -> Self {
        self.sdk_config(SdkConfig::builder().build())
    }

    pub fn sdk_client(mut self, client: SdkClient) -> Self {
        match client {
            SdkClient::Kinesis(client) => {
                self.kinesis_builder = self.kinesis_builder.kinesis_client(client);
            }
            SdkClient::Firehose(client) => {
                self.firehose_builder = self.firehose_builder.firehose_client(client);
            }
        }
        self
    }

    pub fn name(self, name: &str) -> Self {
        on_both_builders!(self.name(name))
    }

    /// Keeps records in the default directory, unless another setting says where.
    pub fn default_directory(self) -> Self {
        self.without_place()
    }

    fn without_place(self) -> Self {
        Self {
            place: None,
            ..self
        }
    }

    pub fn storage_path(self, path: &Path) -> Self {
        let setup = self.without_place();
        on_both_builders!(setup.storage_path(path))
    }

    pub fn in_memory(self) -> Self {
        let setup = self.without_place();
        on_both_builders!(setup.in_memory())
    }

    /// Uses the default directory, with the index in memory.
    pub fn in_journal(self) -> Self {
        let setup = self.without_place();
        on_both_builders!(setup.in_journal())
    }

    pub fn journal(self, path: &Path) -> Self {
        let setup = self.without_place();
        on_both_builders!(setup.journal(path))
    }

    /// Uses this directory with the case's store, or memory if that is its store.
    pub fn at(self, path: &Path) -> Self {
        match self.place {
            Some(StoreKind::Memory) => self.in_memory(),
            Some(StoreKind::Journal) => self.journal(path),
            Some(StoreKind::Sled | StoreKind::TinySled) | None => self.storage_path(path),
        }
    }

    pub fn store(self, store: Arc<dyn RecordStore>) -> Self {
        let setup = self.without_place();
        on_both_builders!(setup.store(Arc::clone(&store)))
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
            Service::Kinesis => {
                Side::Kinesis(self.kinesis_builder.options(self.kinesis).build().await?)
            }
            Service::Firehose => {
                Side::Firehose(self.firehose_builder.options(self.firehose).build().await?)
            }
        };
        Ok(Client {
            side,
            _directory: temporary,
        })
    }

    /// `Debug` of the client's own builder.
    pub fn builder_debug(self) -> String {
        match self.service {
            Service::Kinesis => format!("{:?}", self.kinesis_builder.options(self.kinesis)),
            Service::Firehose => format!("{:?}", self.firehose_builder.options(self.firehose)),
        }
    }
}

/// SDK settings that send each request once, which saves seconds of retries on a refusal.
pub fn one_attempt() -> SdkConfig {
    SdkConfig::builder()
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .build()
}
