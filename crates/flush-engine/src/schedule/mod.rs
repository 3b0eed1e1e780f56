//! When passes run.

pub(crate) mod adaptive;
pub(crate) mod drain;
pub(crate) mod interval;
