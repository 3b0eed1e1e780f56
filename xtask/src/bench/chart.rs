//! Draws bar charts of the measurements as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 760;
const BAR: i32 = 22;
const HEAD: i32 = 40;
/// Below the bars, for the numbers of a logarithmic scale.
const FOOT: i32 = 24;
/// Where bars begin, and where the longest ends; the rest is for labels.
const LEFT: i32 = 210;
const RIGHT: i32 = 640;

const OURS: RGBColor = RGBColor(31, 111, 178);
const OTHERS: RGBColor = RGBColor(160, 168, 176);
const INK: RGBColor = RGBColor(34, 40, 46);

/// Groups of bars on one scale.
pub(crate) struct Chart {
    /// The file name, without the extension.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) scale: Scale,
    pub(crate) text: fn(f64) -> String,
    pub(crate) groups: Vec<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Starts at a tenth of the smallest value.
    Logarithmic,
}

pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Highlighted among the contenders.
    pub(crate) is_ours: bool,
}

impl Chart {
    pub(crate) fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Writes the chart to a file in this directory.
    pub(crate) fn draw(&self, directory: &Path) -> Result<()> {
        let path = directory.join(self.file());
        let area = SVGBackend::new(&path, (WIDTH, self.height())).into_drawing_area();
        let drawn = self.draw_on(&area);
        drawn.map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    fn height(&self) -> u32 {
        let bars: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        let lines = i32::try_from(bars).unwrap_or_default() * BAR;
        let heads = i32::try_from(self.groups.len()).unwrap_or_default() * HEAD;
        (HEAD + heads + lines + FOOT).unsigned_abs()
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let write = |text: &str, size: u32, at: (i32, i32), side: HPos| {
            let font = ("sans-serif", size).into_font().color(&INK);
            area.draw(&Text::new(
                text.to_owned(),
                at,
                font.pos(Pos::new(side, VPos::Center)),
            ))
        };
        write(&self.title, 17, (10, HEAD / 2), HPos::Left)?;
        let foot = i32::try_from(self.height()).unwrap_or_default() - FOOT;
        for power in self.powers() {
            let x = LEFT + self.length(power);
            let line = PathElement::new([(x, HEAD), (x, foot)], OTHERS.mix(0.5));
            area.draw(&line)?;
            write(&(self.text)(power), 12, (x, foot + FOOT / 2), HPos::Center)?;
        }
        let mut y = HEAD;
        for group in &self.groups {
            write(&group.title, 14, (10, y + HEAD / 2), HPos::Left)?;
            y += HEAD;
            for bar in &group.bars {
                let end = LEFT + self.length(bar.value);
                let middle = y + BAR / 2;
                let color = if bar.is_ours { OURS } else { OTHERS };
                let corners = [(LEFT, y + 2), (end, y + BAR - 2)];
                area.draw(&Rectangle::new(corners, color.filled()))?;
                write(&bar.label, 13, (LEFT - 8, middle), HPos::Right)?;
                write(&(self.text)(bar.value), 13, (end + 6, middle), HPos::Left)?;
                y += BAR;
            }
        }
        area.present()
    }

    /// The powers of ten on a logarithmic scale.
    fn powers(&self) -> Vec<f64> {
        let (least, most) = self.bounds();
        if self.scale == Scale::Linear || !(least > 0.0 && most.is_finite()) {
            return Vec::new();
        }
        let powers = (-20..=20).map(|exponent| 10.0_f64.powi(exponent));
        powers
            .filter(|power| (least / 10.0..=most).contains(power))
            .collect()
    }

    /// The smallest and the largest value, without zeros.
    fn bounds(&self) -> (f64, f64) {
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        let values = bars.map(|bar| bar.value).filter(|value| *value > 0.0);
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        })
    }

    /// A bar's length in pixels.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "from 1 to a width in pixels"
    )]
    fn length(&self, value: f64) -> i32 {
        let (least, most) = self.bounds();
        let share = match self.scale {
            Scale::Linear => value / most,
            Scale::Logarithmic => {
                let least = least / 10.0;
                (value / least).ln() / (most / least).ln()
            }
        };
        let share = if share.is_finite() { share } else { 0.0 };
        (f64::from(RIGHT - LEFT) * share.clamp(0.0, 1.0)).max(1.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Chart, Group, Scale};

    fn chart(scale: Scale, values: [f64; 3]) -> Chart {
        let bars = values.map(|value| Bar {
            label: format!("bar <{value}>"),
            value,
            is_ours: value > 1.0,
        });
        Chart {
            name: "chart",
            title: "A chart".to_owned(),
            scale,
            text: |value| format!("{value} records/s"),
            groups: vec![Group {
                title: "a group".to_owned(),
                bars: bars.into(),
            }],
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let linear = chart(Scale::Linear, [0.0, 5.0, 10.0]);
        assert_eq!(
            [0.0, 5.0, 10.0].map(|value| linear.length(value)),
            [1, 215, 430]
        );
        let logarithmic = chart(Scale::Logarithmic, [1.0, 10.0, 100.0]);
        let lengths = [1.0, 10.0, 100.0].map(|value| logarithmic.length(value));
        assert_eq!(lengths, [143, 286, 430]);
        assert_eq!(logarithmic.powers(), [0.1, 1.0, 10.0, 100.0]);
        assert!(linear.powers().is_empty());
    }

    #[test]
    fn a_chart_is_an_svg_with_its_labels_and_values() {
        let directory = tempfile::tempdir().unwrap();
        chart(Scale::Linear, [0.0, 5.0, f64::NAN])
            .draw(directory.path())
            .unwrap();
        let svg = std::fs::read_to_string(directory.path().join("chart.svg")).unwrap();
        assert!(svg.starts_with("<svg"), "{svg}");
        for text in ["A chart", "a group", "bar &lt;5&gt;", "5 records/s"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
