//! Calls the owner's handlers, and tracks what they must not call.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::{EngineError, InvalidSetting};
use crate::lifecycle::Lifecycle;

thread_local! {
    /// The engines whose handlers this thread is running, with the handler's name, outermost first.
    static WITHIN: RefCell<Vec<(usize, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// A handler panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

impl Lifecycle {
    /// Calls one of the owner's handlers. A panic in it is contained.
    pub(crate) fn call_back(
        &self,
        name: &'static str,
        handler: impl FnOnce(),
    ) -> Result<(), Panicked> {
        let _within = Within::enter(self.identity(), name);
        catch_unwind(AssertUnwindSafe(handler)).map_err(|_panic| Panicked)
    }

    /// Whether the caller is a handler of this engine.
    pub(crate) fn is_within_callback(&self) -> bool {
        self.callback().is_some()
    }

    /// The handler of this engine that is making this call.
    fn callback(&self) -> Option<&'static str> {
        let identity = self.identity();
        WITHIN.with_borrow(|within| {
            let mut within = within.iter().rev();
            within.find_map(|&(engine, name)| (engine == identity).then_some(name))
        })
    }

    /// Refuses an operation that would wait for the handler calling it.
    pub(crate) fn refuse_within_callback(&self, operation: &str) -> Result<(), EngineError> {
        let Some(handler) = self.callback() else {
            return Ok(());
        };
        Err(EngineError::Validation(InvalidSetting::new(
            handler,
            format!("{operation} was called from within it and would wait for it to return"),
            format!("let the handler return, and call {operation} from a task of its own"),
        )))
    }

    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

struct Within;

impl Within {
    fn enter(identity: usize, handler: &'static str) -> Self {
        WITHIN.with_borrow_mut(|within| within.push((identity, handler)));
        Self
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.with_borrow_mut(|within| within.pop());
    }
}
