//! Shows progress while something takes time, and tables of results.

use std::time::Duration;

use comfy_table::{Row, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

/// A spinner on a terminal, two lines elsewhere.
pub(crate) struct Progress {
    what: String,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            eprintln!("{what} …");
        } else {
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { what, bar }
    }

    /// Shows the current step.
    pub(crate) fn detail(&self, detail: &str) {
        self.bar.set_message(detail.trim().to_owned());
    }

    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        eprintln!("{}: done in {}", self.what, seconds(self.bar.elapsed()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A table for a terminal.
pub(crate) fn table(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(header);
    table
}

/// Formats a duration for people.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
