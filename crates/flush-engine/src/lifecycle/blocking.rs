//! Calls from threads that belong to no runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::api::{EngineError, InvalidSetting};
use crate::lifecycle::Lifecycle;

impl Lifecycle {
    /// Waits for a future on this thread, while the runtime that the engine was started in runs
    /// its tasks.
    ///
    /// # Errors
    /// [`EngineError::Validation`] where that would never end: on a thread of a runtime, or if
    /// the engine's own has no threads of its own.
    pub(crate) fn block_on<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let invalid = |problem: &str, suggestion: &str| {
            EngineError::Validation(InvalidSetting::new(call, problem, suggestion))
        };
        if Handle::try_current().is_ok() {
            return Err(invalid(
                "was called within a tokio runtime, and would block a thread of it",
                "await the call without _blocking",
            ));
        }
        if self.home.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Err(invalid(
                "needs a runtime that runs by itself; the client was made in one of a single thread",
                "make the client in a multi-thread runtime, or have the runtime block_on the call \
                 without _blocking",
            ));
        }
        catch_unwind(AssertUnwindSafe(|| self.home.block_on(future))).unwrap_or_else(|_panic| {
            Err(EngineError::unknown("the runtime of the client has ended"))
        })
    }
}
