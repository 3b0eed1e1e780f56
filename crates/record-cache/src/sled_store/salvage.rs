//! Reading a database without sled, when sled cannot or must not read it.
//!
//! Our values stand in sled's log as they were written. Each proves itself, so the file
//! is searched for them from end to end, wherever they are. Deleted records may come
//! back; records that never were cannot.

mod carve;
mod rebuild;

pub(super) use self::rebuild::{LEAP, Loss, Salvaged, salvage};
