//! Compares what arrived with the file.

use std::time::Duration;

use anyhow::{Result, ensure};
use comfy_table::{Table, presets};

use super::file::{Arrived, Lines, line_of};
use crate::progress::seconds;

/// The fate of a file's lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    recorded: usize,
    delivered: usize,
    duplicates: usize,
    lost: usize,
    /// Arrivals that differ from their line, or match none.
    altered: usize,
    /// First arrivals after a later line.
    out_of_order: usize,
}

impl Report {
    pub(crate) fn compare(lines: &Lines, arrived: &[Arrived]) -> Self {
        let mut report = Self {
            recorded: lines.count(),
            ..Self::default()
        };
        let mut seen = vec![false; lines.count()];
        let mut furthest = 0;
        for record in arrived {
            let is_same = |&at: &usize| lines.lines.get(at) == Some(&record.data);
            let Some(line) = line_of(&record.key).filter(is_same) else {
                report.altered += 1;
                continue;
            };
            if std::mem::replace(&mut seen[line], true) {
                report.duplicates += 1;
                continue;
            }
            report.delivered += 1;
            report.out_of_order += usize::from(line < furthest);
            furthest = furthest.max(line);
        }
        report.lost = report.recorded - report.delivered;
        report
    }

    pub(crate) fn table(&self, elapsed: Duration, requests: Option<usize>) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let requests = requests.map_or_else(|| "not counted".to_owned(), |n| n.to_string());
        for (what, value) in [
            ("recorded", self.recorded.to_string()),
            ("delivered", self.delivered.to_string()),
            ("duplicates", self.duplicates.to_string()),
            ("lost", self.lost.to_string()),
            ("altered", self.altered.to_string()),
            ("out of order", self.out_of_order.to_string()),
            (
                "from the first record to the last delivery",
                seconds(elapsed),
            ),
            ("requests", requests),
        ] {
            table.add_row([what.to_owned(), value]);
        }
        table
    }

    /// # Errors
    /// If a line was lost or altered.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Self { lost, altered, .. } = self;
        ensure!(
            (*lost, *altered) == (0, 0),
            "{lost} lines were lost, {altered} were altered"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::key_of;
    use super::*;

    fn arrived(records: &[(usize, &'static str)]) -> Vec<Arrived> {
        let arrived = |&(line, data): &(usize, &'static str)| Arrived {
            key: key_of(line),
            data: data.into(),
        };
        records.iter().map(arrived).collect()
    }

    #[test]
    fn each_line_is_accounted_for() {
        let lines = Lines::of("a\nb\nc\nd");
        let all = [(0, "a"), (1, "b"), (2, "c"), (3, "d")];
        assert!(Report::compare(&lines, &arrived(&all)).verdict().is_ok());

        let report = Report::compare(&lines, &arrived(&[(1, "b"), (0, "a"), (1, "b"), (2, "x")]));
        let expected = Report {
            recorded: 4,
            delivered: 2,
            duplicates: 1,
            lost: 2,
            altered: 1,
            out_of_order: 1,
        };
        assert_eq!(report, expected);
        assert!(report.verdict().is_err());
    }
}
