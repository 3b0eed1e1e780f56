//! The known open shards of streams.
//!
//! Shards are listed when first needed, and again when a response names an unexpected shard or the
//! list is old. Listing has a time limit. While it is refused or fails, there is no map, and the
//! next attempt comes a while later so that nothing is held up.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregation::{Shard, ShardMap};
use record_cache::StreamName;

use crate::lifecycle::runtime::{Instant, timeout};
use crate::telemetry::log;
use crate::{Fault, SendError};

/// Maximum streams whose shards are remembered; beyond that, all are listed again.
const MOST_STREAMS: usize = 1_024;
/// Maximum time for one listing.
const LIMIT: Duration = Duration::from_secs(5);
/// Delay before listing again after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Age at which a list is renewed. A stream that was deleted and created again has the same ids for
/// other ranges, which no response shows.
const OLD_AFTER: Duration = Duration::from_secs(600);
/// Delay before listing again after responses contradicted the map.
const AGAIN_AFTER_CONTRADICTIONS: Duration = Duration::from_secs(3600);
/// Consecutive responses that may name shards missing from a fresh map.
const MOST_CONTRADICTIONS: u32 = 3;

/// The known shards of each stream.
#[derive(Debug, Default)]
pub(crate) struct Shards(Mutex<HashMap<StreamName, Arc<OfStream>>>);

type OfStream = tokio::sync::Mutex<Known>;

#[derive(Debug, Default)]
struct Known {
    map: Option<Arc<ShardMap>>,
    /// When to list the shards, immediately if unset.
    due: Option<Instant>,
    contradictions: u32,
    /// Whether the lack of a map was logged.
    is_told: bool,
}

impl Shards {
    /// The shards of a stream. If unknown or old, they are listed within this time.
    pub(crate) async fn map(
        &self,
        stream: &StreamName,
        list: impl Future<Output = Result<Vec<Shard>, SendError>>,
        within: Duration,
    ) -> Option<Arc<ShardMap>> {
        let of_stream = self.of(stream);
        let mut known = of_stream.lock().await;
        if known.due.is_none_or(|due| due <= Instant::now()) {
            match listed(list, within).await {
                // Probably still true: nothing contradicts it.
                Err(
                    SendError::NoAnswer { .. }
                    | SendError::Refused {
                        fault: Fault::Service | Fault::Unreadable,
                        ..
                    },
                ) if known.map.is_some() => {
                    known.due = Instant::now().checked_add(AGAIN_AFTER);
                }
                listed => known.learn(stream, listed),
            }
        }
        known.map.clone()
    }

    /// A map that is newer than this one, listed within this time.
    ///
    /// # Cancel safety
    /// What is known stays as it was.
    pub(crate) async fn newer(
        &self,
        stream: &StreamName,
        old: &Arc<ShardMap>,
        list: impl Future<Output = Result<Vec<Shard>, SendError>>,
        within: Duration,
    ) -> Option<Arc<ShardMap>> {
        let of_stream = self.of(stream);
        let mut known = of_stream.lock().await;
        if known.is(old) {
            let listed = listed(list, within).await;
            known.learn(stream, listed);
        }
        known.map.clone()
    }

    /// Notes that a response named only shards that this map has, or also others.
    pub(crate) fn confirmed(&self, stream: &StreamName, map: &Arc<ShardMap>, has_all: bool) {
        // If another request is listing them, its own response decides.
        let of_stream = self.of(stream);
        let Ok(mut known) = of_stream.try_lock() else {
            return;
        };
        if !known.is(map) {
            return;
        }
        if has_all {
            known.contradictions = 0;
            return;
        }
        known.contradictions += 1;
        if known.contradictions < MOST_CONTRADICTIONS {
            // Lists lag behind a resharding.
            known.give_up(stream, AGAIN_AFTER, None);
        } else {
            known.contradictions = 0;
            known.give_up(stream, AGAIN_AFTER_CONTRADICTIONS, None);
        }
    }

    /// Forgets the shards of a stream, which may be replaced by another of the same name.
    pub(crate) fn forget(&self, stream: &StreamName) {
        // If they are being listed, they are new.
        if let Ok(mut known) = self.of(stream).try_lock()
            && known.map.take().is_some()
        {
            known.due = None;
        }
    }

    fn of(&self, stream: &StreamName) -> Arc<OfStream> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= MOST_STREAMS && !streams.contains_key(stream) {
            streams.clear();
        }
        Arc::clone(streams.entry(stream.clone()).or_default())
    }
}

impl Known {
    fn is(&self, map: &Arc<ShardMap>) -> bool {
        let known = self.map.as_ref();
        known.is_some_and(|known| Arc::ptr_eq(known, map))
    }

    fn learn(&mut self, stream: &StreamName, listed: Result<ShardMap, SendError>) {
        match listed {
            Ok(map) if !map.shards().is_empty() => {
                self.map = Some(Arc::new(map));
                self.due = Instant::now().checked_add(OLD_AFTER);
                self.is_told = false;
            }
            Err(SendError::Refused { code, .. }) => {
                self.give_up(stream, AGAIN_AFTER, code.as_deref());
            }
            Ok(_) | Err(_) => self.give_up(stream, AGAIN_AFTER, None),
        }
    }

    fn give_up(&mut self, stream: &StreamName, again_after: Duration, code: Option<&str>) {
        self.map = None;
        self.due = Instant::now().checked_add(again_after);
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                target: log::TARGET,
                stream = %stream,
                code,
                "the shards are not known: only events of one partition key share a record"
            );
        }
    }
}

async fn listed(
    list: impl Future<Output = Result<Vec<Shard>, SendError>>,
    within: Duration,
) -> Result<ShardMap, SendError> {
    let listed = timeout(within.min(LIMIT), list).await;
    let shards = listed.map_err(|_elapsed| SendError::timed_out("no list of shards in time"))??;
    ShardMap::new(shards).map_err(|overlap| SendError::unreadable(overlap.to_string()))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn stream() -> StreamName {
        StreamName::new("a").unwrap()
    }

    fn one(id: &str) -> Result<Vec<Shard>, SendError> {
        Ok(vec![Shard::new(id, 0, u128::MAX)])
    }

    fn ids(map: Option<&Arc<ShardMap>>) -> Vec<String> {
        let shards = map.map_or(&[][..], |map| map.shards());
        shards.iter().map(|shard| shard.id.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_is_listed_once_and_again_only_for_those_who_know_no_newer_one() {
        let shards = Shards::default();
        let first = shards.map(&stream(), ready(one("1")), LIMIT).await;
        let second = shards.map(&stream(), ready(one("2")), LIMIT).await;
        assert_eq!(ids(second.as_ref()), ["1"]);
        let first = first.unwrap();
        for listed in ["3", "4"] {
            let limit = Duration::from_secs(1);
            let newer = shards
                .newer(&stream(), &first, ready(one(listed)), limit)
                .await;
            assert_eq!(ids(newer.as_ref()), ["3"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_list_there_is_no_map_for_a_while() {
        let refused = SendError::refused(Fault::Service, Some("AccessDenied".to_owned()), "no");
        let overlap = vec![Shard::new("1", 0, 5), Shard::new("2", 5, 9)];
        for failed in [Err(refused), Ok(Vec::new()), Ok(overlap)] {
            let shards = Shards::default();
            assert_eq!(shards.map(&stream(), ready(failed), LIMIT).await, None);
            assert_eq!(shards.map(&stream(), ready(one("1")), LIMIT).await, None);
            tokio::time::advance(AGAIN_AFTER).await;
            assert!(
                shards
                    .map(&stream(), ready(one("1")), LIMIT)
                    .await
                    .is_some()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_does_not_come_is_not_waited_for() {
        let shards = Shards::default();
        let begun = Instant::now();
        for within in [LIMIT * 2, Duration::ZERO] {
            assert_eq!(shards.map(&stream(), pending(), within).await, None);
            assert_eq!(begun.elapsed(), LIMIT);
        }
        let (shards, begun) = (Shards::default(), Instant::now());
        assert_eq!(shards.map(&stream(), pending(), LIMIT / 2).await, None);
        assert_eq!(begun.elapsed(), LIMIT / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_that_answers_contradict_is_not_used_for_a_while() {
        let shards = Shards::default();
        for (has_all, again_after) in [
            (false, AGAIN_AFTER),
            (false, AGAIN_AFTER),
            (true, Duration::ZERO),
            (false, AGAIN_AFTER),
            (false, AGAIN_AFTER),
            (false, AGAIN_AFTER_CONTRADICTIONS),
            (false, AGAIN_AFTER),
        ] {
            let map = shards.map(&stream(), ready(one("1")), LIMIT).await;
            shards.confirmed(&stream(), &map.unwrap(), has_all);
            if let Some(almost) = again_after.checked_sub(Duration::from_secs(1)) {
                tokio::time::advance(almost).await;
                assert_eq!(shards.map(&stream(), ready(one("1")), LIMIT).await, None);
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_an_older_map_does_not_count() {
        let shards = Shards::default();
        let older = shards.map(&stream(), ready(one("1")), LIMIT).await.unwrap();
        let newer = shards
            .newer(&stream(), &older, ready(one("2")), LIMIT)
            .await;
        shards.confirmed(&stream(), &older, false);
        let map = shards.map(&stream(), ready(one("3")), LIMIT).await;
        assert_eq!(ids(map.as_ref()), ids(newer.as_ref()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_list_is_renewed_and_kept_while_it_cannot_be() {
        let shards = Shards::default();
        let known = async |listed: Result<Vec<Shard>, SendError>| {
            ids(shards.map(&stream(), ready(listed), LIMIT).await.as_ref())
        };
        assert_eq!(known(one("1")).await, ["1"]);
        tokio::time::advance(OLD_AFTER - Duration::from_secs(1)).await;
        assert_eq!(known(one("2")).await, ["1"]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(known(Err(SendError::no_answer("offline"))).await, ["1"]);
        assert_eq!(known(one("2")).await, ["1"]);
        tokio::time::advance(AGAIN_AFTER).await;
        assert_eq!(known(one("2")).await, ["2"]);
        shards.forget(&stream());
        assert_eq!(
            ids(shards.map(&stream(), ready(one("3")), LIMIT).await.as_ref()),
            ["3"]
        );
    }

    /// Counts logged lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<usize>>);

    impl std::io::Write for Lines {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            *self.0.lock().unwrap() += text.iter().filter(|byte| **byte == b'\n').count();
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_map_is_logged_once_until_there_is_one() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let _logged = tracing::subscriber::set_default(subscriber.finish());
        let shards = Shards::default();
        for (listed, expected) in [
            (Ok(Vec::new()), 1),
            (Err(SendError::no_answer("offline")), 1),
            (Ok(Vec::new()), 1),
            (one("1"), 1),
            (Ok(Vec::new()), 2),
        ] {
            tokio::time::advance(AGAIN_AFTER).await;
            match shards.map(&stream(), ready(listed), LIMIT).await {
                Some(map) => {
                    let lost = Err(SendError::no_answer("offline"));
                    assert_eq!(*lines.0.lock().unwrap(), expected);
                    assert!(
                        shards
                            .newer(&stream(), &map, ready(lost), LIMIT)
                            .await
                            .is_none()
                    );
                    assert_eq!(*lines.0.lock().unwrap(), expected + 1);
                }
                None => assert_eq!(*lines.0.lock().unwrap(), expected),
            }
        }
    }
}
