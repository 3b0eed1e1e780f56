//! The conformance suite for stores.
//!
//! It checks each sentence of the contract of [`RecordStore`] against a new, empty store. Use it to
//! test your own implementation:
//!
//! ```
//! use std::sync::Arc;
//! use record_cache::{MemoryStore, RecordStore, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>).await;
//! # }
//! ```
//!
//! A store that outlives its process also runs [`run_durable`]:
//!
//! ```
//! # #[cfg(feature = "sled")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::sync::Arc;
//! use record_cache::{RecordStore, SledStore, conformance};
//!
//! let directory = tempfile::tempdir().unwrap();
//! conformance::run_durable(directory.path(), async |place| {
//!     Arc::new(SledStore::open(place).await.unwrap()) as Arc<dyn RecordStore>
//! })
//! .await;
//! # }
//! # #[cfg(not(feature = "sled"))]
//! # fn main() {}
//! ```
//!
//! The functions work on any runtime, and panic with the sentence that is violated.

#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

mod atomicity;
mod closing;
mod counting;
mod durable;
mod ordering;
mod reading;
mod settling;
mod support;

use std::path::Path;
use std::sync::Arc;

use crate::RecordStore;

/// Checks the contract, except for restarts.
///
/// `open` returns a new, empty store each time.
///
/// # Panics
/// When the store breaks the contract.
///
/// # Cancel safety
/// Stops in the middle of a check, and leaves its store as it is.
pub async fn run_all(open: impl AsyncFn() -> Arc<dyn RecordStore>) {
    reading::a_new_store_is_empty(&*open().await).await;
    reading::contents_come_back_as_they_went_in(&*open().await).await;
    reading::count_limits_a_read(&*open().await).await;
    reading::bytes_limit_a_read_but_one_record_always_fits(&*open().await).await;
    reading::a_read_goes_on_after_an_id(&*open().await).await;
    reading::a_read_changes_nothing(&*open().await).await;
    ordering::records_come_back_in_the_order_of_their_calls(&*open().await).await;
    ordering::one_call_may_feed_many_streams(&*open().await).await;
    ordering::tasks_side_by_side_keep_their_own_order(&*open().await).await;
    ordering::ids_only_grow_and_are_never_used_again(&*open().await).await;
    settling::deletes_are_returned_and_gone(&*open().await).await;
    settling::unknown_ids_are_passed_over(&*open().await).await;
    settling::attempts_add_up(&*open().await).await;
    settling::one_step_deletes_and_counts(&*open().await).await;
    settling::any_order_will_do(&*open().await).await;
    settling::a_settlement_touches_its_stream_only(&*open().await).await;
    settling::clear_forgets_everything(&*open().await).await;
    counting::counters_follow_every_call(&*open().await).await;
    counting::random_work_agrees_with_a_plain_queue(&*open().await).await;
    atomicity::a_dropped_call_is_done_whole_or_not_at_all(&open).await;
    closing::a_closed_store_refuses_and_remembers_its_counters(&*open().await).await;
    closing::all_who_close_wait_and_succeed(&*open().await).await;
    closing::calls_before_a_close_are_completed(&*open().await).await;
}

/// Checks what the contract says about restarts.
///
/// `open` opens the store at the given path, which may not exist yet. Each check uses its own path
/// under `directory`.
///
/// # Panics
/// When the store breaks the contract.
///
/// # Cancel safety
/// Stops in the middle of a check, and leaves its store as it is.
pub async fn run_durable(directory: &Path, open: impl AsyncFn(&Path) -> Arc<dyn RecordStore>) {
    durable::records_survive_a_restart(&directory.join("records"), &open).await;
    durable::settlements_survive_a_restart(&directory.join("settlements"), &open).await;
    durable::moved_records_keep_their_attempts(&directory.join("moved"), &open).await;
    durable::ids_grow_across_restarts(&directory.join("ids"), &open).await;
    durable::a_cleared_store_stays_empty(&directory.join("cleared"), &open).await;
    durable::a_closed_place_opens_again_at_once(&directory.join("again"), &open).await;
    durable::a_dropped_call_survives_whole_or_not_at_all(&directory.join("dropped"), &open).await;
}
