//! The results of one part of the bench.

use super::chart::Chart;
use super::table::Table;
use super::verdict::Verdict;
use crate::progress::Progress;

/// The results of one part.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) tables: Vec<Table>,
    pub(crate) charts: Vec<Chart>,
    pub(crate) verdicts: Vec<Verdict>,
    under_way: Option<Progress>,
}

impl Measured {
    /// Announces the next measurement.
    pub(crate) fn begin(&mut self, what: impl Into<String>) {
        self.end();
        self.under_way = Some(Progress::start(what));
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.end();
        table.print();
        self.tables.push(table);
    }

    pub(crate) fn chart(&mut self, chart: Chart) {
        self.charts.push(chart);
    }

    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    fn end(&mut self) {
        if let Some(progress) = self.under_way.take() {
            progress.done();
        }
    }
}
