//! What `on_discard` may call, and which calls are refused there.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails fails its test"
)]

mod common;

use std::sync::{Arc, Mutex, OnceLock};

use common::{Call, Rig, SECOND, Service, ancient, at_once, bounded, new};
use flush_engine::{
    CloseOptions, DiscardHandler, DiscardReason, EngineError, EngineOptions, FlushEngine,
    OverflowPolicy,
};

fn is_refused<T>(result: Option<Result<T, EngineError>>) -> bool {
    matches!(result, Some(Err(EngineError::Validation(_))))
}

type Handler = Box<dyn Fn(&FlushEngine) + Send>;

/// An engine that gives up a record for this reason and then calls `handler`.
async fn given_up(reason: DiscardReason, handler: impl Fn(&FlushEngine) + Send + 'static) -> Rig {
    let engine: Arc<OnceLock<FlushEngine>> = Arc::default();
    let handler: Mutex<Option<Handler>> = Mutex::new(Some(Box::new(handler)));
    let called = Arc::clone(&engine);
    let mut options = discarding();
    options.on_discard = Some(DiscardHandler::new(move |record| {
        assert_eq!(record.reason, reason);
        if let Some(handler) = handler.lock().unwrap().take() {
            handler(called.get().unwrap());
        }
    }));
    let rig = Rig::with(Service::replying(Call::send_all_back), options);
    engine.set(rig.engine.clone()).unwrap();
    match reason {
        DiscardReason::Overflow => {
            rig.record("a", &"x".repeat(160)).await;
            rig.record("a", "y").await;
        }
        DiscardReason::Expired => {
            rig.record_all(vec![ancient("a", "x")]).await;
            rig.flush().await;
        }
        _ => {
            rig.record("a", "x").await;
            rig.flush().await;
        }
    }
    rig
}

fn discarding() -> EngineOptions {
    let mut options = bounded(160);
    options.max_retries = 0;
    options.max_record_age = Some(SECOND * 3600);
    options.overflow_policy = OverflowPolicy::DropOldest;
    options
}

const REASONS: [DiscardReason; 3] = [
    DiscardReason::RetriesExhausted,
    DiscardReason::Overflow,
    DiscardReason::Expired,
];

/// The result of `call` when made from within a handler.
async fn within<T: Send + 'static>(
    reason: DiscardReason,
    call: impl Fn(&FlushEngine) -> T + Send + 'static,
) -> (T, Rig) {
    let said: Arc<Mutex<Option<T>>> = Arc::default();
    let heard = Arc::clone(&said);
    let rig = given_up(reason, move |engine| {
        *heard.lock().unwrap() = Some(call(engine));
    })
    .await;
    let said = said.lock().unwrap().take();
    (said.expect("the handler was called"), rig)
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_for_the_handler_is_refused_at_once() {
    for reason in REASONS {
        let (said, rig) = within(reason, |engine| {
            let drain = CloseOptions::default().drain(SECOND);
            [
                is_refused(at_once(engine.drain(SECOND))),
                is_refused(at_once(engine.clear())),
                is_refused(at_once(engine.close())),
                is_refused(at_once(engine.close_with(CloseOptions::default()))),
                is_refused(at_once(engine.close_with(drain))),
            ]
        })
        .await;
        assert_eq!(said, [true; 5], "{reason:?}");
        // None of these calls had any effect, and outside the handler they work.
        assert!(!rig.engine.is_closed());
        rig.engine.drain(SECOND).await.unwrap();
        rig.engine.clear().await.unwrap();
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_finds_one_in_progress() {
    for reason in REASONS {
        let (said, _rig) = within(reason, |engine| {
            let flushed = at_once(engine.flush());
            flushed.is_some_and(|done| done.unwrap().flush_in_progress)
        })
        .await;
        assert!(said, "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_stored_or_refused_at_once() {
    for reason in REASONS {
        let (said, _rig) = within(reason, |engine| {
            let small = at_once(engine.record(vec![new("other", "")]));
            let large = at_once(engine.record(vec![new("other", &"x".repeat(160))]));
            [small, large].map(|stored| stored.map(|stored| stored.is_ok()))
        })
        .await;
        assert_eq!(said, [Some(true), Some(false)], "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_engine_may_be_closed() {
    let other = Rig::new(Service::accepting());
    let engine = other.engine.clone();
    let (said, _rig) = within(DiscardReason::Overflow, move |_| {
        !is_refused(at_once(engine.close()))
    })
    .await;
    assert!(said);
    assert!(other.engine.is_closed());
}

#[tokio::test(start_paused = true)]
async fn after_a_handler_that_panicked_nothing_is_refused() {
    let rig = given_up(DiscardReason::RetriesExhausted, |_| {
        std::panic::resume_unwind(Box::new("on purpose"));
    })
    .await;
    rig.engine.drain(SECOND).await.unwrap();
    rig.engine.close().await.unwrap();
}
