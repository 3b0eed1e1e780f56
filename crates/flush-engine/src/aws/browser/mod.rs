//! Support for clients in a web page or worker: requests through `fetch`, the page's timers and
//! clock, and credentials from the page.
//!
//! A client built with the feature `browser` on `wasm32-unknown-unknown` uses all of it
//! automatically, except [`PageCredentials`]. Programs that supply their own SDK client start its
//! configuration from [`sdk_config`].

mod credentials;
mod fetch;
mod js;
mod platform;

pub use self::credentials::PageCredentials;
pub use self::fetch::FetchClient;
pub(crate) use self::platform::completed;
pub use self::platform::sdk_config;
pub use aws_credential_types::Credentials;
#[doc(no_inline)]
pub use js_sys;
