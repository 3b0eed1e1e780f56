//! Formats numbers for people.

use super::series::Series;

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const GIB: u64 = 1024 * MIB;

/// A number with three significant figures: `1.23M`, `45.6k`, `789`, `0.0123`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        size if size >= 999_500.0 => format!("{}M", figures(value / 1e6)),
        size if size >= 999.5 => format!("{}k", figures(value / 1e3)),
        _ => figures(value),
    }
}

/// A multiple, like `0.42×`.
pub(crate) fn multiple(value: f64) -> String {
    format!("{}×", number(value))
}

pub(crate) fn bytes(bytes: u64) -> String {
    size(bytes as f64)
}

/// An average number of bytes.
pub(crate) fn size(bytes: f64) -> String {
    let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")];
    let fitting = units.into_iter().find(|(unit, _)| bytes >= *unit as f64);
    match fitting {
        Some((unit, name)) => format!("{} {name}", figures(bytes / unit as f64)),
        None => "0 B".to_owned(),
    }
}

pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        _ if !seconds.is_finite() => "–".to_owned(),
        1.0.. => format!("{} s", figures(seconds)),
        1e-3.. => format!("{} ms", figures(seconds * 1e3)),
        _ => format!("{} µs", figures(seconds * 1e6)),
    }
}

/// The median, with the minimum and maximum in brackets.
pub(crate) fn spread(series: &Series, text: impl Fn(f64) -> String) -> String {
    let (least, most) = (text(series.min()), text(series.max()));
    let median = text(series.median());
    if least == median && most == median {
        return median;
    }
    format!("{median} ({least}–{most})")
}

/// Rounds to three significant figures, without trailing zeros.
fn figures(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures() {
        let texts = [
            1_234_567.0,
            999_600.0,
            45_600.0,
            1000.0,
            789.4,
            5.0,
            0.416,
            0.012,
            0.0,
        ];
        let expected = [
            "1.23M", "1M", "45.6k", "1k", "789", "5", "0.42", "0.012", "0",
        ];
        assert_eq!(texts.map(number), expected);
    }

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!(
            [100, KIB, 16 * KIB, MIB, GIB].map(bytes),
            ["100 B", "1 KiB", "16 KiB", "1 MiB", "1 GiB"]
        );
        assert_eq!(
            [2.5, 0.020, 0.000_15].map(duration),
            ["2.5 s", "20 ms", "150 µs"]
        );
    }
}
