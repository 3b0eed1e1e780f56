//! What an owner of an engine says and hears: settings, errors, reports, the sender.

pub(crate) mod error;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod report;
pub(crate) mod sender;
pub(crate) mod settings;
