//! Common imports of every part of the bench: jobs, rounds and tables.

pub(super) use super::chart::{Bar, Chart, Group, Scale};
pub(super) use super::effort::Effort;
pub(super) use super::job::{Job, measure};
pub(super) use super::measured::Measured;
pub(super) use super::place;
pub(super) use super::series::Series;
pub(super) use super::table::Table;
pub(super) use super::verdict::{Target, Verdict};
