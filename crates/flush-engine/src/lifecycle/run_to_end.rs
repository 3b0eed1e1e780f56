//! Finishes work whose caller stopped waiting for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_util::task::TaskTracker;

use crate::api::EngineError;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::Runtime;

impl Lifecycle {
    /// Runs a future to completion in a task, so a caller that stops waiting or polling does not
    /// delay others.
    pub(crate) async fn run_to_end<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let ended = self.runtime().spawn(self.tasks.track_future(future));
        ended.await.unwrap_or_else(|error| {
            Err(EngineError::unknown(format!(
                "the operation was cut short: {error}"
            )))
        })
    }

    /// Polls a future once within its caller, then runs it to completion in a task. Calls begin in
    /// the order in which they are made, and a call that need not wait needs no task.
    pub(crate) async fn begin<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let mut future = Box::pin(future);
        let runtime = self.runtime();
        let begun = poll_fn(|context| {
            let _within = runtime.enter();
            Poll::Ready(future.as_mut().poll(context))
        });
        match begun.await {
            Poll::Ready(ended) => ended,
            Poll::Pending => self.run_to_end(future).await,
        }
    }

    /// Runs a future within its caller, or as a task once the caller drops it.
    pub(crate) fn complete<F>(&self, future: F) -> Completing<F>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        Completing {
            future: Some(Box::pin(future)),
            tasks: self.tasks.clone(),
            runtime: self.runtime(),
        }
    }
}

/// A future that continues as a task if dropped early.
///
/// Needs no task while it is awaited. Runs in the given runtime, so it can be awaited outside of
/// one.
///
/// Not for work that others wait for: it makes no progress while its caller holds it without
/// polling.
pub(crate) struct Completing<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    future: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
    runtime: Runtime,
}

impl<F> Future for Completing<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(future) = this.future.as_mut() else {
            return Poll::Pending;
        };
        let _within = this.runtime.enter();
        let output = ready!(future.as_mut().poll(context));
        this.future = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for Completing<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.runtime.spawn(self.tasks.track_future(future));
        }
    }
}
