//! The index is disposable: a log gives up nothing by the loss of it.
#[path = "../support/mod.rs"]
mod support;
