//! Random partition keys.

/// A random partition key, which spreads records evenly over the shards.
///
/// Works wherever a partition key is expected.
///
/// ```
/// # use flush_engine::aws::PartitionKey;
/// // Accepted as it is wherever a key is expected. Keep the text to find the record again.
/// let key = PartitionKey::random();
/// let text = key.as_str().to_owned();
/// assert_eq!(String::from(key), text);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey(String);

impl PartitionKey {
    /// Eight random letters and digits, few enough to add little to the size of the record.
    #[must_use]
    pub fn random() -> Self {
        Self(
            std::iter::repeat_with(fastrand::alphanumeric)
                .take(8)
                .collect(),
        )
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<PartitionKey> for String {
    fn from(key: PartitionKey) -> Self {
        key.0
    }
}

// Hides the key.
impl std::fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartitionKey")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_keys_are_short_and_differ() {
        let keys: HashSet<_> = (0..1000).map(|_| PartitionKey::random()).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.as_str().len() == 8));
        let key = PartitionKey::random();
        assert!(!format!("{key:?}").contains(key.as_str()));
    }
}
