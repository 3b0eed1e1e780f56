//! Which requests a child gave up for lack of an answer in time: the endpoint, which may have
//! answered, cannot know.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::payload::{STREAMS, stream};
use super::told::Told;

/// Tells of every request that took as long as it may.
pub fn watch(request_timeout: Duration) {
    let watch = Watch {
        // Timers are coarse.
        limit: request_timeout.saturating_sub(Duration::from_millis(20)),
        spans: AtomicU64::new(1),
        requests: Mutex::default(),
    };
    tracing::subscriber::set_global_default(watch).unwrap();
}

/// Follows the spans that the engine has around its requests.
struct Watch {
    limit: Duration,
    spans: AtomicU64,
    requests: Mutex<HashMap<u64, Request>>,
}

struct Request {
    stream: String,
    begun: Instant,
    handles: usize,
    is_told: bool,
}

impl Subscriber for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "flush_engine" && metadata.name() == "request"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut name = StreamName(String::new());
        attributes.record(&mut name);
        let id = self.spans.fetch_add(1, Ordering::Relaxed);
        let request = Request {
            stream: name.0,
            begun: Instant::now(),
            handles: 1,
            is_told: false,
        };
        self.requests.lock().unwrap().insert(id, request);
        Id::from_u64(id)
    }

    fn exit(&self, id: &Id) {
        let mut requests = self.requests.lock().unwrap();
        let Some(request) = requests.get_mut(&id.into_u64()) else {
            return;
        };
        if !request.is_told && request.begun.elapsed() >= self.limit {
            request.is_told = true;
            let number = (0..STREAMS).find(|&number| stream(number) == request.stream);
            Told::GaveUp { stream: number }.say();
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(request) = self.requests.lock().unwrap().get_mut(&id.into_u64()) {
            request.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut requests = self.requests.lock().unwrap();
        let Some(request) = requests.get_mut(&id.into_u64()) else {
            return false;
        };
        request.handles -= 1;
        let is_last = request.handles == 0;
        if is_last {
            requests.remove(&id.into_u64());
        }
        is_last
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
}

struct StreamName(String);

impl Visit for StreamName {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "stream" {
            self.0 = format!("{value:?}");
        }
    }
}
