#![doc = include_str!("../README.md")]

mod limits;
mod pack;

pub use self::limits::BatchLimits;
pub use self::pack::{Pack, pack};
