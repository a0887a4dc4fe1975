//! Keys of the log.

use super::key::{Applies, Key, Kind, key, unset};

/// `[logging]`
pub(super) const LOGGING: &[Key] = &[
    key("level", Kind::Choice(&["trace", "debug", "info", "warn", "error"]), "\"info\"", "What is logged.")
        .at(Applies::Live),
    unset(
        "targets",
        Kind::Levels,
        "\"my_app=debug,hyper=warn\"",
        "Other levels for targets that begin so, as the modules of Rust programs do: a text, or a table { my_app = \"debug\" }. The longest name that fits counts; \"off\" logs nothing. RUST_LOG sets this and level, too: over the file, and under GIN_LOGGING_TARGETS, GIN_LOGGING_LEVEL and --log-level.",
    )
    .at(Applies::Live),
    key("format", Kind::Choice(&["json", "text"]), "\"json\"", "A line each. In a terminal: text."),
    key("output", Kind::Choice(&["stdout", "stderr", "file", "journald"]), "\"stderr\"", "Where to."),
    unset(
        "file_path",
        Kind::Path,
        "\"/var/log/shop/shop.log\"",
        "The file, for output = \"file\". Reopened on SIGUSR1.",
    ),
    key(
        "max_line",
        Kind::Size,
        "\"8KiB\"",
        "A longer line is cut, 1KiB at least: in JSON its longest texts, with the number of bytes left out in the field truncated. The supervisor's own lines have 8KiB at most.",
    ),
    key("max_size", Kind::Integer(1, 1 << 20), "100", "In megabytes; then a new file is begun."),
    key("max_backups", Kind::Integer(0, 10_000), "3", "So many old files are kept; 0: all."),
    key("max_age", Kind::Integer(0, 36_500), "28", "In days; older files are removed; 0: none."),
    key("compress", Kind::Boolean, "false", "Whether old files are gzipped."),
];
