//! Timers, tasks and clocks, from tokio or from the page.
//!
//! Everything in this crate that waits, spawns a task or reads a clock uses the exports of this
//! module, so no other file depends on the target. Code without that dependency, like `tokio::sync`
//! and `tokio::select!`, is used directly.

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod browser;
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
mod native;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use self::browser as imp;
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
use self::native as imp;

pub(crate) use self::imp::{
    Instant, JoinError, JoinSet, Runtime, sleep, sleep_until, timeout, timeout_at, wall_clock,
};

#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
mod page;
#[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
pub(crate) use self::{
    browser::spawn_in_page,
    page::{is_page_hidden, page_hidden},
};

/// Why a thread may not wait for a future.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayNotBlock {
    pub(crate) problem: &'static str,
    pub(crate) suggestion: &'static str,
}
