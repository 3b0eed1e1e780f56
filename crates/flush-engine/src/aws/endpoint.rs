//! The URL that requests are sent to.

use http::Uri;

use crate::InvalidSetting;

/// A URL of the http or https scheme, with a host.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: String,
}

impl Endpoint {
    /// # Errors
    /// [`InvalidSetting`], which does not show the URL: it may hold a password.
    pub(crate) fn new(url: String) -> Result<Self, InvalidSetting> {
        let uri = url.parse::<Uri>().ok();
        let is_endpoint = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if is_endpoint {
            return Ok(Self { url });
        }
        Err(InvalidSetting::new(
            "endpoint_url",
            "is not a URL of the http or https scheme",
            "set endpoint_url to something like http://localhost:4566",
        ))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
