//! Maps hashes to shards.

use std::collections::HashMap;

/// A shard that accepts records, and its range of hashes.
///
/// ```
/// use aggregation::{Shard, hash_key};
///
/// let half = u128::MAX / 2;
/// let upper = Shard::new("shardId-000000000001", half + 1, u128::MAX);
/// assert!(upper.contains(hash_key("")));
/// assert!(!upper.contains(half));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The first hash.
    pub start: u128,
    /// The last hash.
    pub end: u128,
}

impl Shard {
    /// A shard with this range of hashes, both ends included.
    #[must_use]
    pub fn new(id: impl Into<String>, start: u128, end: u128) -> Self {
        Self {
            id: id.into(),
            start,
            end,
        }
    }

    /// Whether a hash belongs to the shard. The KCL drops a whole record if the hash of one of its
    /// events does not.
    #[must_use]
    pub const fn contains(&self, hash_key: u128) -> bool {
        self.start <= hash_key && hash_key <= self.end
    }
}

/// Two shards that claim the same hashes. They cannot both be open.
///
/// ```
/// use aggregation::{Shard, ShardMap};
///
/// // A list of shards that also has the parent of a split.
/// let shards = [Shard::new("parent", 0, u128::MAX), Shard::new("child", 0, 9)];
/// let overlap = ShardMap::new(shards).expect_err("both claim the hashes up to 9");
/// assert_eq!(overlap.to_string(), "shards overlap: parent and child");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shards overlap: {0} and {1}")]
#[non_exhaustive]
pub struct Overlap(pub String, pub String);

/// The open shards of a stream. Some hashes may belong to no shard.
///
/// ```
/// use aggregation::{Shard, ShardMap, hash_key};
///
/// let half = u128::MAX / 2;
/// let map = ShardMap::new([
///     Shard::new("lower", 0, half),
///     Shard::new("upper", half + 1, u128::MAX),
/// ])?;
/// let shard = map.shard_of(hash_key("customer-7")).ok_or("no shard claims the hash")?;
/// assert_eq!(map.get(&shard.id), Some(shard));
/// assert_eq!(map.shards().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardMap {
    by_start: Vec<Shard>,
    by_id: HashMap<String, usize>,
}

impl ShardMap {
    /// Sorts open shards by hash.
    ///
    /// # Errors
    /// [`Overlap`] when two of them claim the same hash.
    pub fn new(shards: impl IntoIterator<Item = Shard>) -> Result<Self, Overlap> {
        let mut by_start: Vec<Shard> = shards.into_iter().collect();
        by_start.sort_by_key(|shard| shard.start);
        for pair in by_start.windows(2) {
            if pair[1].start <= pair[0].end {
                return Err(Overlap(pair[0].id.clone(), pair[1].id.clone()));
            }
        }
        let place = |(place, shard): (usize, &Shard)| (shard.id.clone(), place);
        let by_id = by_start.iter().enumerate().map(place).collect();
        Ok(Self { by_start, by_id })
    }

    /// The shard that a hash belongs to.
    #[must_use]
    pub fn shard_of(&self, hash_key: u128) -> Option<&Shard> {
        let behind = self
            .by_start
            .partition_point(|shard| shard.start <= hash_key);
        let shard = self.by_start.get(behind.checked_sub(1)?)?;
        shard.contains(hash_key).then_some(shard)
    }

    /// The shard with this id. `None` if the map does not know it yet.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Shard> {
        self.by_id.get(id).map(|place| &self.by_start[*place])
    }

    /// All shards, ordered by hash.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.by_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_belongs_to_the_shard_that_claims_it() {
        let half = u128::MAX / 2;
        let map = ShardMap::new([
            Shard::new("c", half + 11, u128::MAX),
            Shard::new("a", 0, half),
            Shard::new("b", half + 1, half + 5),
        ])
        .unwrap();
        let shard_of = |hash_key| map.shard_of(hash_key).map(|shard| shard.id.as_str());
        assert_eq!(shard_of(0), Some("a"));
        assert_eq!(shard_of(half), Some("a"));
        assert_eq!(shard_of(half + 1), Some("b"));
        assert_eq!(shard_of(half + 6), None);
        assert_eq!(shard_of(half + 11), Some("c"));
        assert_eq!(shard_of(u128::MAX), Some("c"));
        assert_eq!(map.get("b").unwrap().start, half + 1);
        assert_eq!(map.get("x"), None);
        assert_eq!(ShardMap::default().shard_of(0), None);
        assert_eq!(map.shards().len(), 3);
    }

    #[test]
    fn shards_do_not_overlap() {
        let overlap = ShardMap::new([Shard::new("b", 5, 9), Shard::new("a", 0, 5)]);
        assert_eq!(overlap, Err(Overlap("a".to_owned(), "b".to_owned())));
    }
}
