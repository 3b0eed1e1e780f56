//! What can go wrong below, before it is decided what to do about it.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::StoreError;

pub(super) type Outcome<T> = Result<T, Fault>;

/// Why an operation on the disk failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It could not begin, for want of room say; everything is as it was.
    Untouched(StoreError),
    /// The system refused. What sled holds in memory may differ from the disk now.
    Refused(StoreError),
    /// What is on the disk cannot be right.
    Damaged(String),
    /// The directory is of another format.
    Foreign(StoreError),
    /// The code below panicked, for a reason that only it knows.
    Panicked(String),
}

impl Fault {
    pub(super) fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        Self::Refused(unavailable(doing, path, error))
    }

    /// What could not begin when other things had been done already.
    pub(super) fn too_late(self) -> Self {
        match self {
            Self::Untouched(error) => Self::Refused(error),
            other => other,
        }
    }

    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::Untouched(error) | Self::Refused(error) | Self::Foreign(error) => error,
            Self::Damaged(what) | Self::Panicked(what) => {
                let context = format!("cannot be read or repaired: path={}", path.display());
                StoreError::unavailable(context, what)
            }
        }
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            sled::Error::Io(error) => Self::Refused(StoreError::unavailable(
                "the database could not go on",
                error,
            )),
            sled::Error::Corruption { .. } => Self::Damaged("a page is damaged".to_owned()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched(error) | Self::Refused(error) | Self::Foreign(error) => error.fmt(f),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Panicked(what) => write!(f, "panicked: {what}"),
        }
    }
}

pub(super) fn unavailable(doing: &str, path: &Path, error: io::Error) -> StoreError {
    StoreError::unavailable(format!("{doing}: path={}", path.display()), error)
}

/// Runs code that may panic where it should return an error.
///
/// What the closure changes has to be thrown away after a panic.
pub(super) fn contained<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Fault::Panicked(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("no message").to_owned()
}
