//! Compares targets with measurements.

use super::amount::spread;
use super::series::Series;
use super::table::Table;

/// A target, and whether it was met.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    what: String,
    target: Target,
    measured: Series,
    text: fn(f64) -> String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Verdict {
    pub(crate) fn new(
        what: impl Into<String>,
        target: Target,
        measured: Series,
        text: fn(f64) -> String,
    ) -> Self {
        Self {
            what: what.into(),
            target,
            measured,
            text,
        }
    }

    fn outcome(&self) -> &'static str {
        let median = self.measured.median();
        let met = match self.target {
            Target::AtLeast(least) => median >= least,
            Target::AtMost(most) => median <= most,
        };
        if met { "met" } else { "falls short" }
    }
}

pub(crate) fn table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new("Targets", "what | target | measured | outcome");
    for verdict in verdicts {
        let (sign, bound) = match verdict.target {
            Target::AtLeast(least) => ('≥', least),
            Target::AtMost(most) => ('≤', most),
        };
        let bound_text = (verdict.text)(bound);
        let mut measured = spread(&verdict.measured, verdict.text);
        let median = verdict.measured.median();
        if median != bound && (verdict.text)(median) == bound_text {
            measured.push_str(&format!(", exactly {median:.4}"));
        }
        table.row([
            verdict.what.clone(),
            format!("{sign} {bound_text}"),
            measured,
            verdict.outcome().to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::amount::multiple;

    #[test]
    fn the_median_decides() {
        let outcome = |target, rounds: [f64; 3]| {
            Verdict::new("", target, rounds.into_iter().collect(), multiple).outcome()
        };
        assert_eq!(outcome(Target::AtLeast(0.5), [0.4, 0.5, 0.6]), "met");
        assert_eq!(
            outcome(Target::AtLeast(0.5), [0.4, 0.49, 0.6]),
            "falls short"
        );
        assert_eq!(outcome(Target::AtMost(1.5), [1.4, 1.5, 1.6]), "met");
        assert_eq!(
            outcome(Target::AtMost(1.5), [1.4, 1.51, 1.6]),
            "falls short"
        );
    }
}
