//! Keys of uploads.

use super::key::{Key, Kind, key, unset};

/// `[uploads]`
pub(super) const UPLOADS: &[Key] = &[
    unset(
        "dir",
        Kind::Path,
        "\"/var/lib/shop/uploads\"",
        "The directory of the files. Default: uploads in the state directory. A sandboxed worker must be able to write there: supervisor.sandbox.write.",
    ),
    key("file", Kind::Size, "\"10MiB\"", "Larger files are refused while they come."),
    key("files", Kind::Integer(1, 1000), "10", "Files of one request at most."),
    key(
        "quota",
        Kind::Size,
        "\"1GiB\"",
        "All files together; a file that would exceed it is refused. It must have room for the largest one that is taken. \"0\": no limit but the disk's.",
    ),
    key(
        "allow",
        Kind::Words,
        "[\"jpg\", \"jpeg\", \"png\", \"gif\", \"pdf\", \"doc\", \"docx\", \"txt\"]",
        "Endings of files that are taken, if their contents fit the ending.",
    ),
    key(
        "resumable",
        Kind::Boolean,
        "false",
        "Whether uploads can be resumed (tus 1.0), where the program has routes for it.",
    ),
    key(
        "resumable_file",
        Kind::Size,
        "\"256MiB\"",
        "Larger files are refused in resumable uploads. The quota must have room for one.",
    ),
    key("abandoned", Kind::Duration, "\"24h\"", "A resumable upload that nobody goes on with for so long is removed."),
];
