//! The timers and tasks of a page or a worker, and the browser's clocks.
//!
//! JavaScript values are not `Send`, but the engine's types are. Anything that holds a JavaScript
//! value therefore runs as a task of the page and reports to the engine through a channel.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gloo_timers::future::TimeoutFuture;
use tokio::sync::oneshot;
use wasm_bindgen_futures::spawn_local;
use web_time::web::SystemTimeExt;

pub(crate) use web_time::Instant;

use super::MayNotBlock;
use crate::api::InvalidSetting;

/// The page, which runs tasks until it closes.
#[derive(Debug, Clone)]
pub(crate) struct Runtime;

impl Runtime {
    /// A page has only one runtime.
    #[expect(clippy::unnecessary_wraps, reason = "as elsewhere")]
    pub(crate) fn current() -> Option<Self> {
        Some(Self)
    }

    /// The page always has timers.
    #[expect(clippy::unnecessary_wraps, reason = "as elsewhere")]
    pub(crate) fn with_timers() -> Result<Self, InvalidSetting> {
        Ok(Self)
    }

    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let (sender, receiver) = oneshot::channel();
        spawn_local(async move {
            // No one may be waiting for the result.
            let _ = sender.send(task.await);
        });
        JoinHandle(receiver)
    }

    pub(crate) fn enter(&self) -> Entered {
        Entered
    }

    /// Always refused: a page does nothing while its only thread waits.
    pub(crate) fn block_on<F: Future>(&self, _future: F) -> Result<F::Output, MayNotBlock> {
        Err(MayNotBlock {
            problem: "would block the page",
            suggestion: "await the call without _blocking",
        })
    }
}

/// Entering the only runtime has no effect.
#[derive(Debug)]
pub(crate) struct Entered;

/// The result of a task. The task continues if this is dropped.
#[derive(Debug)]
pub(crate) struct JoinHandle<T>(oneshot::Receiver<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = pin!(&mut self.0).poll(context);
        result.map_err(|_dropped| JoinError)
    }
}

/// A task was dropped before it ended.
#[derive(Debug)]
pub(crate) struct JoinError;

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was dropped")
    }
}

/// A set of tasks that are dropped with it.
#[derive(Debug)]
pub(crate) struct JoinSet<T>(FuturesUnordered<JoinHandle<T>>);

impl<T: Send + 'static> JoinSet<T> {
    pub(crate) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let (mut sender, receiver) = oneshot::channel();
        spawn_local(async move {
            let result = tokio::select! {
                biased;
                () = sender.closed() => return,
                result = task => result,
            };
            let _ = sender.send(result);
        });
        self.0.push(JoinHandle(receiver));
    }

    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.next().await
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Waits for a duration.
pub(crate) async fn sleep(duration: Duration) {
    match Instant::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until the deadline, and at least until the page's next task.
pub(crate) async fn sleep_until(deadline: Instant) {
    /// Browser timers are limited to 31 bits of milliseconds.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        timer(left.min(LONGEST)).await;
        if Instant::now() >= deadline {
            return;
        }
    }
}

/// Runs a task that cannot leave the page's thread.
#[cfg(feature = "browser")]
pub(crate) fn spawn_in_page(task: impl Future<Output = ()> + 'static) {
    spawn_local(task);
}

/// One timer of the page, cleared on drop.
async fn timer(duration: Duration) {
    let millis = u32::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
    let (mut sender, receiver) = oneshot::channel();
    spawn_local(async move {
        tokio::select! {
            biased;
            () = sender.closed() => return,
            () = TimeoutFuture::new(millis) => {}
        }
        let _ = sender.send(());
    });
    let _ = receiver.await;
}

/// The time limit passed.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a future, but at most `limit`.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep(limit) => Err(Elapsed),
    }
}

/// Waits for a future, but at most until the deadline.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep_until(deadline) => Err(Elapsed),
    }
}

/// The time of day by the browser's clock.
pub(crate) fn wall_clock() -> SystemTime {
    web_time::SystemTime::now().to_std()
}
