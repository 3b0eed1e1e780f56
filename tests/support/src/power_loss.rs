//! The disk states that a power loss could leave after a process.
//!
//! A real process is [traced](trace) while it works in a directory, the arena. Its calls become a
//! [`Timeline`]: writes, names and syncs in order, interleaved with the [marks](Event::Mark) that
//! report its promises so far. At any moment, a [`Disk`] knows what is certainly on stable storage
//! and what is [`Pending`]; [`States`] picks moments and decides, by a [`Plan`], the fate of each
//! pending change. The resulting [`Image`] is written out and opened by the program under test.
//!
//! The model assumes:
//! - `fsync` and `fdatasync` make all earlier writes to the file durable, including its length;
//!   `sync_file_range` makes nothing durable, because it waits neither for the device's cache nor
//!   for the file's length.
//! - A write to a file opened with `O_SYNC` or `O_DSYNC` is durable when it returns, with the
//!   length. Attributes of files make nothing durable.
//! - A write reaches the disk by sectors of 512 bytes. Each sector has its contents of some moment
//!   before the crash; otherwise, any order is possible.
//! - A new length may arrive without the data, which then reads as zeros.
//! - [`Rules`] say when names and lengths become durable.

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
pub use self::event::{Action, Change, Event, Inode, NameChange, OperationId};
pub use self::image::Image;
pub use self::plan::Plan;
pub use self::states::{State, States};
pub use self::timeline::Timeline;
pub use self::tracer::{Calls, Places, trace};
