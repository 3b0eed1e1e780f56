//! The stores for tests: every real kind, and one in memory that follows a script.

#[cfg(feature = "store-kinds")]
mod kind;
mod scripted;

#[cfg(feature = "store-kinds")]
pub use self::kind::StoreKind;
pub use self::scripted::{Gate, Op, ScriptedStore, Step};
