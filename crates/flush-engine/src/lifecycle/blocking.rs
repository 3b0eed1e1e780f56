//! Calls from threads outside any runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::{EngineError, InvalidSetting};
use crate::lifecycle::Lifecycle;

impl Lifecycle {
    /// Blocks this thread on a future, while the engine's own runtime runs its tasks.
    ///
    /// # Errors
    /// [`EngineError::Validation`] where that would never return: on a runtime thread, or if the
    /// engine's runtime has no threads of its own.
    pub(crate) fn block_on<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let blocked = AssertUnwindSafe(|| self.home.block_on(future));
        match catch_unwind(blocked) {
            Ok(Ok(result)) => result,
            Ok(Err(refused)) => Err(EngineError::Validation(InvalidSetting::new(
                call,
                refused.problem,
                refused.suggestion,
            ))),
            Err(_panic) => Err(EngineError::unknown("the client's runtime has shut down")),
        }
    }
}
