//! How things look: colours, lengths of time, sizes.

pub mod certificates;
pub mod connections;
pub mod journal;
pub mod man;
pub mod profile;
pub mod progress;
pub mod reference;
pub mod sessions;
pub mod status;
pub mod unit;

use std::time::Duration;

use anstyle::{AnsiColor, Reset, Style};
use comfy_table::Table;

/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Not so well.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Not well at all.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Less important.
pub const DIM: Style = Style::new().dimmed();
/// As it was.
pub const PLAIN: Reset = Reset;

/// "8s", "3m 5s", "2h 10m", "3d 4h".
#[must_use]
pub fn age(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86400, s % 86400 / 3600),
    }
}

/// "12 ms", "0.83 s".
#[must_use]
pub fn took(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1e3) }
}

/// "84 MiB".
#[must_use]
pub fn size(bytes: u64) -> String {
    format!("{:.0} MiB", f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0)
}

/// A point in time, in UTC.
#[must_use]
pub fn time(at_ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at_ms);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A table without lines, indented by two.
#[must_use]
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.iter().copied());
    table
}

/// Prints a table.
pub fn print_table(table: &Table) {
    for line in table.lines() {
        crate::say!("  {}", line.trim());
    }
}
