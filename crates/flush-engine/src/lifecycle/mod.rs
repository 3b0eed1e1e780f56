//! Whether an engine is open, the tasks that it runs, and how it closes.
//!
//! [`Lifecycle`] is shared by everything else and knows none of it: what is closed at the end
//! is handed in as a function. May be touched here: the intake, the tasks, calls of handlers,
//! the phases of closing. Not here: records, passes, stores.
//!
//! A close runs through these phases: `Open`, perhaps `Draining`, then `Closing`
//! and `Closed`. `CutShort` replaces `Closing` when the runtime of the closing task ends first.

mod blocking;
mod callback;
mod close;
mod run_to_end;
mod state;

pub(crate) use self::close::Closer;
pub use self::state::Intake;
pub(crate) use self::state::Lifecycle;
