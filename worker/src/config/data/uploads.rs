//! `[uploads]`

use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::time;

/// `[uploads]`: for a program that registers uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploads {
    /// The directory of the files. `None`: `uploads` in the state directory.
    pub dir: Option<PathBuf>,
    /// Larger files are refused. In bytes.
    pub file: u64,
    /// Files of one request at most.
    pub files: u32,
    /// All files together at most, in bytes. 0: no limit.
    pub quota: u64,
    /// Endings of files that are taken, in lower case, without a dot.
    pub allow: Vec<String>,
    /// True if uploads can be resumed.
    pub resumable: bool,
    /// Larger files are refused in resumable uploads. In bytes.
    pub resumable_file: u64,
    /// A resumable upload that nobody goes on with for so long is removed.
    pub abandoned: Duration,
}

impl Default for Uploads {
    fn default() -> Self {
        let allow = ["jpg", "jpeg", "png", "gif", "pdf", "doc", "docx", "txt"];
        Self {
            dir: None,
            file: 10 << 20,
            files: 10,
            quota: 1 << 30,
            allow: allow.map(str::to_owned).into(),
            resumable: false,
            resumable_file: 256 << 20,
            abandoned: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Uploads {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let files = section.integer("files", 1..=1000).and_then(|files| u32::try_from(files).ok());
        let read = Self {
            dir: section.path("dir"),
            file: size(section, "file").unwrap_or(base.file),
            files: files.unwrap_or(base.files),
            quota: section.size("quota").unwrap_or(base.quota),
            allow: section.texts("allow").map_or(base.allow, |all| endings(section, &all)),
            resumable: section.boolean("resumable").unwrap_or(base.resumable),
            resumable_file: size(section, "resumable_file").unwrap_or(base.resumable_file),
            abandoned: time(section, "abandoned").unwrap_or(base.abandoned),
        };
        read.check(section);
        read
    }

    /// Tells of a largest file for which the quota never has room.
    fn check(&self, section: &Section<'_>) {
        let Self { file, quota, resumable_file, .. } = *self;
        if quota == 0 {
            return;
        }
        if file > quota {
            section.problem(
                "quota",
                &format!("{quota} bytes have no room for a file of uploads.file, {file} bytes; raise the one or lower the other"),
            );
        }
        // A resumable upload takes a little more than its bytes.
        if self.resumable && resumable_file >= quota {
            section.problem(
                "quota",
                &format!(
                    "{quota} bytes have no room for an upload of uploads.resumable_file, {resumable_file} bytes; \
                     raise the one or lower the other"
                ),
            );
        }
    }
}

/// A size that is not zero.
fn size(section: &Section<'_>, key: &'static str) -> Option<u64> {
    section.size(key).inspect(|size| {
        if *size == 0 {
            section.problem(key, "it must be more than 0");
        }
    })
}

/// Endings in lower case, without a dot before them.
fn endings(section: &Section<'_>, all: &[String]) -> Vec<String> {
    let ending = |text: &String| {
        let ending = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
        if ending.is_empty() || !ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            section.problem("allow", &format!("\"{text}\" is no ending of a file; write it as \"pdf\""));
        }
        ending
    };
    all.iter().map(ending).collect()
}
