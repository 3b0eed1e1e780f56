//! Work that is finished although nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that, dropped before its end, goes on as a task.
///
/// Costs no task as long as it is awaited to the end. Runs within the runtime that is
/// given, so that it may be awaited from outside one.
///
/// Not for what others wait for: a caller that keeps it without polling it stops it.
pub(crate) struct Completing<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    future: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl<F> Completing<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(crate) fn new(future: F, tasks: TaskTracker, runtime: Handle) -> Self {
        Self {
            future: Some(Box::pin(future)),
            tasks,
            runtime,
        }
    }
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
            self.tasks.spawn_on(future, &self.runtime);
        }
    }
}
