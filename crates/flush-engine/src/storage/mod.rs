//! Where records are kept.

pub(crate) mod directories;
#[cfg(feature = "sled")]
pub(crate) mod slots;
