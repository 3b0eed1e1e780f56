//! What the SDK needs from the page: HTTP client, timers and clock.

use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedHttpClient;

use super::FetchClient;
use crate::lifecycle::runtime::{sleep, wall_clock};

/// Makes the SDK sleep on the page's timers.
#[derive(Debug)]
struct PageTimers;

impl AsyncSleep for PageTimers {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(sleep(duration))
    }
}

/// Gives the SDK the browser's clock. Its own would panic.
#[derive(Debug)]
struct PageClock;

impl TimeSource for PageClock {
    fn now(&self) -> SystemTime {
        wall_clock()
    }
}

/// An SDK configuration with everything that a client requires in a page, and nothing else: no
/// region, no credentials.
///
/// For SDK clients of any service that a program builds itself.
#[must_use]
pub fn sdk_config() -> SdkConfig {
    completed(SdkConfig::builder().build())
}

/// Fills in what a configuration lacks for a page.
pub(crate) fn completed(given: SdkConfig) -> SdkConfig {
    let http_client = given.http_client();
    let timers = given.sleep_impl();
    let clock = given.time_source();
    let mut config = given.into_builder();
    config
        .set_http_client(http_client.or_else(|| Some(SharedHttpClient::new(FetchClient::new()))))
        .set_sleep_impl(timers.or_else(|| Some(SharedAsyncSleep::new(PageTimers))))
        .set_time_source(clock.or_else(|| Some(SharedTimeSource::new(PageClock))));
    config.build()
}
