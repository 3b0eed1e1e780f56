//! What a client in a web page or a worker needs: requests by `fetch`, the page's timers and
//! clock, and credentials that the page has.
//!
//! A client that is built with the feature `browser` on `wasm32-unknown-unknown` uses all of it by
//! itself, except [`PageCredentials`]. Programs that bring an SDK client of their own begin its
//! configuration with [`sdk_config`].

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
