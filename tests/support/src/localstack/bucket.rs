//! An S3 bucket of LocalStack.

use std::io;

use super::http::request;

/// A bucket, whether or not it exists yet.
#[derive(Debug)]
pub struct Bucket {
    endpoint: String,
    name: String,
}

impl Bucket {
    /// The bucket of this name. Nothing is created yet.
    pub fn new(endpoint: &str, name: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Creates the bucket.
    ///
    /// # Errors
    /// If LocalStack cannot be reached or refuses.
    pub async fn create(&self) -> io::Result<()> {
        let target = format!("/{}", self.name);
        request(&self.endpoint, "PUT", &target, &[], b"")
            .await
            .map(drop)
    }

    /// The bucket's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.name)
    }

    /// The content of every object, ordered by key.
    ///
    /// # Errors
    /// If LocalStack cannot be reached or refuses.
    pub async fn objects(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut objects = Vec::new();
        let mut last = String::new();
        loop {
            let keys = self.keys_after(&last).await?;
            for key in &keys {
                objects.push(self.get(&format!("/{}/{key}", self.name)).await?);
            }
            match keys.last() {
                Some(key) => last.clone_from(key),
                None => return Ok(objects),
            }
        }
    }

    async fn keys_after(&self, key: &str) -> io::Result<Vec<String>> {
        let list = self
            .get(&format!("/{}?list-type=2&start-after={key}", self.name))
            .await?;
        let list = String::from_utf8(list).map_err(io::Error::other)?;
        list.split("<Key>")
            .skip(1)
            .map(|rest| match rest.split_once("</Key>") {
                Some((key, _)) if key.bytes().all(is_plain) => Ok(key.to_owned()),
                _ => Err(io::Error::other(format!("unexpected key in {list}"))),
            })
            .collect()
    }

    async fn get(&self, target: &str) -> io::Result<Vec<u8>> {
        request(&self.endpoint, "GET", target, &[], b"").await
    }
}

/// Whether a byte is the same in XML, in a path and in a query.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte)
}
