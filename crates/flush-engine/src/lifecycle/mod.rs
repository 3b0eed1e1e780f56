//! Whether an engine is open, the tasks it runs, and how it closes.
//!
//! [`Lifecycle`] is shared by everything else and depends on none of it; it receives a function
//! that closes the store. In scope: the intake, tasks, timers, clocks, handler calls, and the
//! phases of closing. Out of scope: records, passes, stores.
//!
//! The phases of closing are `Open`, optionally `Draining`, then `Closing` and `Closed`. `CutShort`
//! replaces `Closing` when the closing task's runtime ends first.

mod blocking;
mod callback;
mod close;
mod run_to_end;
pub(crate) mod runtime;
mod state;

pub(crate) use self::close::Closer;
pub use self::state::Intake;
pub(crate) use self::state::Lifecycle;
