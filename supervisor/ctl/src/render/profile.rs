//! The functions with the greatest values of a profile.

use comfy_table::Table;
use gin_shared::plain_text::plain;
use gin_shared::pprof::{Profile, Row};

use super::{table, took};

/// The kind of a profile's values that people want to see: its number, name and unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its number.
    pub index: usize,
    /// The thing that is counted.
    pub what: String,
    /// Its unit.
    pub unit: String,
}

impl Kind {
    /// The kind that the profile names; else the last one, as `go tool pprof` has it.
    #[must_use]
    pub fn of(profile: &Profile) -> Option<Self> {
        let named = profile.kinds.iter().position(|(what, _)| *what == profile.default_kind);
        let index = named.or_else(|| profile.kinds.len().checked_sub(1))?;
        let (what, unit) = profile.kinds.get(index)?;
        Some(Self { index, what: what.clone(), unit: unit.clone() })
    }

    /// The sum of all values.
    #[must_use]
    pub fn total(&self, profile: &Profile) -> i64 {
        let values = profile.samples.iter().filter_map(|sample| sample.values.get(self.index));
        values.fold(0, |sum, value| sum.saturating_add(*value))
    }
}

/// A value: "840 ms", "3.84 s", "12.5 MiB", "7".
#[must_use]
pub fn value(number: i64, unit: &str) -> String {
    match unit {
        "nanoseconds" => took(number as f64 / 1e6),
        "bytes" if number < 1 << 20 => format!("{:.1} KiB", number as f64 / 1024.0),
        "bytes" => format!("{:.1} MiB", number as f64 / f64::from(1 << 20)),
        _ => number.to_string(),
    }
}

/// A row a function: its own part, and the part with all that it has called.
#[must_use]
pub fn rows(functions: &[Row], total: i64, unit: &str) -> Table {
    let mut rows = table(&["FLAT", "%", "CUM", "%", "FUNCTION"]);
    let part = |number: i64| format!("{:.1}", 100.0 * number as f64 / total.max(1) as f64);
    for row in functions {
        let Row { function, flat, cumulative } = row;
        let function = plain(function).replace(['\n', '\t'], " ");
        rows.add_row([value(*flat, unit), part(*flat), value(*cumulative, unit), part(*cumulative), function]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(function: &str, flat: i64, cumulative: i64) -> Row {
        Row { function: function.to_owned(), flat, cumulative }
    }

    #[test]
    fn a_row_has_both_parts_and_a_name_that_moves_no_cursor() {
        let functions =
            [row("shop::burn", 3_000_000_000, 3_000_000_000), row("main\x1b[2J\n", 20_000_000, 4_000_000_000)];
        let lines: Vec<String> = rows(&functions, 4_000_000_000, "nanoseconds")
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[..2], ["FLAT % CUM % FUNCTION", "3.00 s 75.0 3.00 s 75.0 shop::burn"]);
        assert!(lines[2].starts_with("20 ms 0.5 4.00 s 100.0 main\\"), "{lines:?}");
        assert!(!lines[2].contains('\x1b'), "{lines:?}");
    }

    #[test]
    fn values_have_the_unit_of_their_kind() {
        let bytes = [512, 3 << 19, 5 << 20].map(|bytes| value(bytes, "bytes"));
        assert_eq!(bytes, ["0.5 KiB", "1.5 MiB", "5.0 MiB"]);
        assert_eq!(value(7, "count"), "7");
        // Nothing was counted.
        assert_eq!(rows(&[row("main", 0, 0)], 0, "count").lines().count(), 2);
    }

    #[test]
    fn the_kind_is_the_one_that_the_profile_names() {
        let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        let kind = |profile: &Profile| Kind::of(profile).unwrap().what;
        assert_eq!(kind(&profile), "cpu");
        profile.default_kind = "samples".to_owned();
        assert_eq!(kind(&profile), "samples");
        assert!(Kind::of(&Profile::new(&[])).is_none());
    }
}
