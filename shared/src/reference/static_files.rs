//! Keys of static files.

use super::key::{Applies, Key, Kind, key, unset};

/// `[static]`
pub(super) const STATIC: &[Key] = &[
    unset(
        "dir",
        Kind::Text,
        "\"./static\"",
        "The directory whose files are served. One that is missing is an error at start.",
    )
    .at(Applies::Live),
    key("url_prefix", Kind::Text, "\"/static\"", "Under which path."),
    key("enable_directory_listing", Kind::Boolean, "false", "Whether a directory without an index file is listed.")
        .at(Applies::Live),
    key("index_files", Kind::Words, "[\"index.html\"]", "What stands for a directory: the first that is there.")
        .at(Applies::Live),
    key(
        "cache_max_age",
        Kind::Duration,
        "\"24h\"",
        "For how long a client need not ask again; \"0s\": it asks each time. In debug mode it always asks.",
    )
    .at(Applies::Live),
    key(
        "html_max_age",
        Kind::Duration,
        "\"0s\"",
        "The same for HTML. \"0s\", because a page names the scripts of its release: a page that a browser has kept asks for scripts that are gone.",
    )
    .at(Applies::Live),
    key(
        "immutable",
        Kind::Boolean,
        "true",
        "Whether a client may keep a file for a year if its name has a hash (`app-5f3a9c21.js`, `app.5f3a9c21.js`): another content has another name. A hash has 8 characters or more, hexadecimal, base32 or base64url. What could be a word, a number, a date or a UUID is no hash.",
    )
    .at(Applies::Live),
    unset(
        "fallback",
        Kind::Text,
        "\"index.html\"",
        "The page of a single-page application, a file below `dir`: the answer to a browser (`Accept: text/html`) where there is no file and no route. One that is missing is an error at start.",
    )
    .at(Applies::Live),
    key(
        "enable_compression",
        Kind::Boolean,
        "true",
        "Whether text is compressed (zstd, br, gzip) for who accepts that.",
    )
    .at(Applies::Live),
    key("compression_level", Kind::Integer(1, 9), "6", "1 is fast, 9 is small.").at(Applies::Live),
    key("allowed_types", Kind::Words, "[]", "Which endings are served, as \"html\"; none named: all.")
        .at(Applies::Live),
    unset("max_size", Kind::Size, "\"100MiB\"", "Larger files are refused.").at(Applies::Live),
    key(
        "memory",
        Kind::Size,
        "\"64MiB\"",
        "For small files that are asked for often, a worker; all directories have equal shares of it. \"0\" keeps none.",
    )
    .at(Applies::Live),
    unset(
        "mounts",
        Kind::Tables(STATIC_MOUNTS),
        "[{ url_prefix = \"/uploads\", dir = \"./uploads\" }]",
        "More directories, each under a path of its own. What one does not set is as in `[static]`, but for `fallback`.",
    ),
];

/// `[[static.mounts]]`
const STATIC_MOUNTS: &[Key] = &[
    unset("url_prefix", Kind::Text, "\"/uploads\"", "Under which path. No other directory has the same one.")
        .required(),
    unset(
        "dir",
        Kind::Text,
        "\"./uploads\"",
        "The directory whose files are served. One that is missing is an error at start.",
    )
    .required(),
    unset("fallback", Kind::Text, "\"index.html\"", "The page of a single-page application, a file below `dir`."),
    unset("enable_directory_listing", Kind::Boolean, "true", "Whether a directory without an index file is listed."),
    unset("index_files", Kind::Words, "[\"index.html\"]", "What stands for a directory: the first that is there."),
    unset("cache_max_age", Kind::Duration, "\"365d\"", "For how long a client need not ask again."),
    unset("html_max_age", Kind::Duration, "\"5m\"", "The same for HTML."),
    unset("immutable", Kind::Boolean, "false", "Whether a client may keep a file for a year if its name has a hash."),
    unset("enable_compression", Kind::Boolean, "false", "Whether text is compressed for who accepts that."),
    unset("allowed_types", Kind::Words, "[\"png\", \"jpg\"]", "Which endings are served; none named: all."),
    unset("max_size", Kind::Size, "\"10MiB\"", "Larger files are refused."),
];
