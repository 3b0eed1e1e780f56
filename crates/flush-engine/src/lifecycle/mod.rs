//! Whether an engine is open, the tasks it runs, and how it closes.
//!
//! [`Lifecycle`] is shared by everything else and depends on none of it: it gets a function that
//! closes the store. Belongs here: the intake, the tasks, timers and clocks, calls of handlers, the
//! phases of closing.
//! Does not: records, passes, stores.
//!
//! Closing has these phases: `Open`, perhaps `Draining`, then `Closing` and `Closed`. `CutShort`
//! replaces `Closing` when the runtime of the closing task ends first.

mod blocking;
mod callback;
mod close;
mod run_to_end;
pub(crate) mod runtime;
mod state;

pub(crate) use self::close::Closer;
pub use self::state::Intake;
pub(crate) use self::state::Lifecycle;
