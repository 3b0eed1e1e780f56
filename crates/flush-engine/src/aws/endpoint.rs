//! The URL that requests are sent to.

use std::fmt;

use http::Uri;

use crate::InvalidSetting;
use crate::aws::text::without_userinfo;

/// An http or https URL with a host.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: String,
}

impl Endpoint {
    /// # Errors
    /// [`InvalidSetting`], which does not show the URL: it may contain a password.
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
            "set endpoint_url, or AWS_ENDPOINT_URL if aws-config reads the environment, to something \
             like http://localhost:4566",
        ))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Distinguishes this endpoint's directories from those of others: its host, for readability,
    /// and a hash of the URL. Excludes the password, which may change.
    pub(crate) fn key(&self) -> String {
        const MAX_HOST_CHARS: usize = 100;
        let url = without_userinfo(&self.url);
        let url = url.trim_end_matches('/').to_ascii_lowercase();
        let host = url.parse::<Uri>().ok();
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
        let host: String = host
            .chars()
            .take(MAX_HOST_CHARS)
            .map(|char| match char {
                'a'..='z' | '0'..='9' | '.' | '-' => char,
                _ => '_',
            })
            .collect();
        format!("{host}_{:016x}", hash(&url))
    }
}

/// FNV-1a: the same on every machine and in every version, as directory names must be stable.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

// A URL may contain a password.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_userinfo(&self.url).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> String {
        Endpoint::new(url.to_owned()).unwrap().key()
    }

    #[test]
    fn the_key_is_the_same_for_the_same_endpoint() {
        assert_eq!(key("http://localhost:4566"), "localhost_adb77526fb1eae55");
        for same in [
            "http://localhost:4566/",
            "HTTP://LocalHost:4566",
            "http://user:pass@localhost:4566",
        ] {
            assert_eq!(key(same), key("http://localhost:4566"), "{same}");
        }
        for other in [
            "http://localhost:4567",
            "https://localhost:4566",
            "http://localhost:4566/a",
        ] {
            assert_ne!(key(other), key("http://localhost:4566"), "{other}");
        }
    }

    #[test]
    fn the_key_is_part_of_a_file_name() {
        assert!(key("http://[::1]:80").starts_with("___1__"));
        let long = format!("http://{}/", "a.".repeat(120) + "b");
        assert!(key(&long).len() < 128);
    }
}
