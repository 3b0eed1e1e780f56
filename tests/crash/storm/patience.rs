//! Reports the requests that a child abandoned because the answer came too late. The endpoint,
//! which may have answered, cannot know.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use super::payload::{STREAMS, stream};
use super::told::Told;

/// Reports every request that reached its timeout.
pub fn watch(request_timeout: Duration) {
    // Timers are coarse.
    let watch = Watch(request_timeout.saturating_sub(Duration::from_millis(20)));
    let requests = |metadata: &Metadata<'_>| {
        metadata.is_span() && metadata.target() == "flush_engine" && metadata.name() == "request"
    };
    let watch = watch.with_filter(filter_fn(requests));
    Registry::default().with(watch).init();
}

/// Follows the engine's request spans.
struct Watch(Duration);

struct Request {
    stream: String,
    begun: Instant,
    is_told: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watch {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut name = StreamName(String::new());
        attributes.record(&mut name);
        context.span(id).unwrap().extensions_mut().insert(Request {
            stream: name.0,
            begun: Instant::now(),
            is_told: false,
        });
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        let request: &mut Request = extensions.get_mut().unwrap();
        if !request.is_told && request.begun.elapsed() >= self.0 {
            request.is_told = true;
            let number = (0..STREAMS).find(|&number| stream(number) == request.stream);
            Told::GaveUp { stream: number }.say();
        }
    }
}

struct StreamName(String);

impl Visit for StreamName {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "stream" {
            self.0 = format!("{value:?}");
        }
    }
}
