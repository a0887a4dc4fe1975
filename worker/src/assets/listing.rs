//! A directory, for people and for programs.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::resolve::Root;

/// Entries of a directory that are looked at. More are not listed, which the list says: a page of them helps nobody.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// A page of HTML.
    Page,
    Json,
}

/// A directory as it is shown.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// True if the directory has more entries than were looked at.
    pub(super) has_more: bool,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// In bytes; of a directory none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// RFC 3339
    pub(super) modified: String,
    #[serde(skip)]
    href: String,
}

/// Lists what can be had of a directory: no hidden names, nothing that leads out, files and directories alone. Directories first. So
/// many entries at most are looked at.
///
/// # Errors
/// Those of `getdents(2)`.
pub(super) fn read(root: &Root, path: &Path, dir: OwnedFd, allowed: &[String], most: usize) -> io::Result<Listing> {
    let (mut entries, mut looked_at, mut has_more) = (Vec::new(), 0, false);
    for entry in rustix::fs::Dir::new(dir)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        if looked_at == most {
            has_more = true;
            break;
        }
        looked_at += 1;
        if bytes.starts_with(b".") {
            continue;
        }
        let name = std::ffi::OsStr::from_bytes(bytes);
        // Opened as a request would open it: what cannot be had is not shown.
        let Ok(meta) = root.at(&path.join(name)).and_then(|fd| File::from(fd).metadata()) else { continue };
        let (kind, size) = match () {
            () if meta.is_dir() => ("directory", None),
            () if meta.is_file() && super::is_allowed(allowed, Path::new(name)) => ("file", Some(meta.len())),
            () => continue,
        };
        let modified = meta
            .modified()
            .unwrap_or(SystemTime::UNIX_EPOCH)
            .clamp(SystemTime::UNIX_EPOCH, super::representation::last());
        let modified = humantime::format_rfc3339_seconds(modified).to_string();
        // It begins with no scheme.
        let href = format!("./{}{}", encode(bytes), if size.is_none() { "/" } else { "" });
        entries.push(Entry { name: name.to_string_lossy().into_owned(), kind, size, modified, href });
    }
    entries.sort_by(|one, other| (one.size.is_some(), &one.name).cmp(&(other.size.is_some(), &other.name)));
    Ok(Listing { entries, has_more })
}

/// The path of a directory in requests.
pub(super) fn url(prefix: &str, path: &Path) -> String {
    let segments = path.iter().map(|name| format!("{}/", encode(name.as_bytes())));
    format!("{prefix}/{}", segments.collect::<String>())
}

/// As a path's segment (RFC 3986, section 3.3).
fn encode(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// The list for programs. `url` is the directory's path in requests.
pub(super) fn json(url: &str, listing: &Listing) -> String {
    let mut body = serde_json::json!({ "path": url, "entries": listing.entries });
    if listing.has_more {
        body["more"] = true.into();
    }
    body.to_string()
}

/// A page. `shown` is the path as people read it.
pub(super) fn page(shown: &str, is_root: bool, listing: &Listing) -> String {
    let title = escape(shown);
    let mut rows = String::new();
    if !is_root {
        rows.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in &listing.entries {
        let slash = if entry.size.is_none() { "/" } else { "" };
        let size = entry.size.map(size).unwrap_or_default();
        let time = entry.modified.replace('T', " ").replace('Z', "");
        let (href, name) = (&entry.href, escape(&entry.name));
        rows.push_str(&format!(
            "<tr><td><a href=\"{href}\">{name}{slash}</a></td><td>{size}</td><td>{time}</td></tr>\n"
        ));
    }
    let count = listing.entries.len();
    let more = if listing.has_more { " (there are more)" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table>\n<p>{count} entries{more}</p>\n</body>\n</html>\n"
    )
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
                     h1{font-size:1.25rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
                     th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent)}\
                     td:nth-child(n+2),th:nth-child(n+2){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
                     td:first-child{overflow-wrap:anywhere}a{text-decoration:none}a:hover{text-decoration:underline}p{opacity:.6}";

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// "1.2 MiB"
fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit < 4 {
        (unit, tenths) = (unit + 1, tenths / 1024);
    }
    match unit {
        0 => format!("{bytes} B"),
        unit => format!("{}.{} {}", tenths / 10, tenths % 10, ["B", "KiB", "MiB", "GiB", "TiB"][unit]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_can_be_had_is_shown_and_nothing_of_a_name_is_markup() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a b&<c>\".txt", ".hidden", "javascript:x"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("sub")).unwrap();
        symlink("/etc/passwd", dir.path().join("out")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let listing = read(&root, Path::new(""), root.at(Path::new("")).unwrap(), &[], ENTRIES_MAX).unwrap();
        let names: Vec<&str> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["sub", "a b&<c>\".txt", "b.txt", "javascript:x"]);
        let page = page("/static/", true, &listing);
        assert!(page.contains("<a href=\"./a%20b%26%3Cc%3E%22.txt\">a b&amp;&lt;c&gt;&quot;.txt</a>"), "{page}");
        assert!(
            page.contains("href=\"./javascript%3Ax\"") && page.contains("href=\"./sub/\"") && !page.contains("../")
        );
    }

    #[test]
    fn what_is_not_looked_at_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..5 {
            fs::write(dir.path().join(format!("{number}.txt")), "x").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let of = |most: usize| read(&root, Path::new(""), root.at(Path::new("")).unwrap(), &[], most).unwrap();
        let (all, cut) = (of(5), of(3));
        assert_eq!((all.entries.len(), all.has_more, cut.entries.len(), cut.has_more), (5, false, 3, true));
        assert!(
            page("/", true, &cut).contains("3 entries (there are more)") && !page("/", true, &all).contains("more")
        );
        assert!(json("/", &cut).contains("\"more\":true") && !json("/", &all).contains("more"));
        assert_eq!(url("/static", Path::new("a b/ä")), "/static/a%20b/%C3%A4/");
        assert_eq!(url("", Path::new("")), "/");
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_300_000, "1.2 MiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
