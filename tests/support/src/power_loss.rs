//! The disk states that a power loss could leave after a process.
//!
//! A real process is [traced](trace) while it works in a directory, the arena. Its calls
//! become a [`Timeline`]: what it wrote, named and synced, in order, and between them the
//! [marks](Event::Mark) by which it says what it has promised so far. At any moment a
//! [`Disk`] knows what is surely on stable storage and what is [`Pending`]; [`States`]
//! picks moments and decides, by a [`Plan`], what becomes of each pending change. The
//! [`Image`] that follows is written out and given to whoever is to recover from it.
//!
//! What the model takes for granted:
//! - `fsync` and `fdatasync` make what was written to the file before them durable, with
//!   the length; `sync_file_range` makes nothing durable, because it waits neither for the
//!   device's cache nor for the file's length.
//! - A write to a file opened with `O_SYNC` or `O_DSYNC` is durable when it returns, with the
//!   length. Attributes of files make nothing durable.
//! - A write reaches the disk by sectors of 512 bytes. Each sector holds what some moment
//!   before the crash had put there; other than that, any order is possible.
//! - A new length may arrive without the data, which reads as zeros then.
//! - When names and lengths become durable is said by [`Rules`].

mod disk;
mod event;
mod image;
mod interpret;
mod plan;
mod states;
mod strace;
mod timeline;
mod tracer;

#[cfg(test)]
mod tests;

pub use self::disk::{Disk, Fate, Pending, Rules};
pub use self::event::{Action, Event, Inode, NameChange, Operation, OperationId};
pub use self::image::Image;
pub use self::plan::Plan;
pub use self::states::{State, States};
pub use self::timeline::Timeline;
pub use self::tracer::{Calls, Places, trace};
