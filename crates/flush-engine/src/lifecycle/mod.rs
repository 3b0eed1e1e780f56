//! What an engine runs in, and how it ends.

pub(crate) mod close;
pub(crate) mod inner;
pub(crate) mod run_to_end;
