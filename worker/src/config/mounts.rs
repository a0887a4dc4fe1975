//! Settings of files: those of `[[static.mounts]]`, and how they are put together with those of `[static]`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use gin_shared::config::Section;

use super::{Mode, Static};

/// One of `[[static.mounts]]`: a directory under a path of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticMount {
    /// Under which path.
    pub url_prefix: String,
    /// The directory whose files are served.
    pub dir: PathBuf,
    /// Its own settings.
    pub options: MountOptions,
}

/// Settings of one directory. `None`: as in `[static]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MountOptions {
    /// The page of a single-page application, below the directory. That of `[static]` does not count here.
    pub fallback: Option<String>,
    /// True if a directory without an index file is listed.
    pub enable_directory_listing: Option<bool>,
    /// Names of the file that stands for a directory: the first that is there.
    pub index_files: Option<Vec<String>>,
    /// For how long a client need not ask again.
    pub cache_max_age: Option<Duration>,
    /// The same for HTML.
    pub html_max_age: Option<Duration>,
    /// True if a client may keep a file for a year whose name has a hash.
    pub immutable: Option<bool>,
    /// True if text is compressed.
    pub enable_compression: Option<bool>,
    /// Endings that are served; none named: all.
    pub allowed_types: Option<Vec<String>>,
    /// Larger files are refused. In bytes.
    pub max_size: Option<u64>,
}

impl MountOptions {
    /// These settings, over those of `[static]`.
    pub(crate) fn over(&self, base: &Static) -> Static {
        let own = self.clone();
        Static {
            dir: None,
            url_prefix: String::new(),
            fallback: own.fallback,
            enable_directory_listing: own.enable_directory_listing.unwrap_or(base.enable_directory_listing),
            index_files: own.index_files.unwrap_or_else(|| base.index_files.clone()),
            cache_max_age: own.cache_max_age.unwrap_or(base.cache_max_age),
            html_max_age: own.html_max_age.unwrap_or(base.html_max_age),
            immutable: own.immutable.unwrap_or(base.immutable),
            enable_compression: own.enable_compression.unwrap_or(base.enable_compression),
            compression_level: base.compression_level,
            allowed_types: own.allowed_types.unwrap_or_else(|| base.allowed_types.clone()),
            max_size: own.max_size.or(base.max_size),
            memory: base.memory,
            mounts: Vec::new(),
        }
    }
}

impl Static {
    /// The same as this mode has it: in debug mode a browser asks each time, as files change under the hands of who develops.
    pub(crate) fn in_mode(self, mode: Mode) -> Self {
        match mode {
            Mode::Debug => {
                Self { cache_max_age: Duration::ZERO, html_max_age: Duration::ZERO, immutable: false, ..self }
            }
            Mode::Release | Mode::Test => self,
        }
    }
}

/// `[[static.mounts]]`. `taken` is the path of `static.dir`, if that is set.
pub(super) fn read(section: &Section<'_>, taken: Option<&str>) -> Vec<StaticMount> {
    let mut mounts = Vec::<StaticMount>::new();
    for own in section.tables("mounts").unwrap_or_default() {
        if let Some(mount) = read_one(&own) {
            let same = |other: &str| other.trim_end_matches('/') == mount.url_prefix.trim_end_matches('/');
            if mounts.iter().map(|mount| mount.url_prefix.as_str()).chain(taken).any(same) {
                own.problem("url_prefix", "another directory has this path; give one of them another path");
            }
            mounts.push(mount);
        }
        own.finish();
    }
    mounts
}

fn read_one(own: &Section<'_>) -> Option<StaticMount> {
    let options = MountOptions {
        fallback: fallback_of(own),
        enable_directory_listing: own.boolean("enable_directory_listing"),
        index_files: own.texts("index_files"),
        cache_max_age: own.duration("cache_max_age"),
        html_max_age: own.duration("html_max_age"),
        immutable: own.boolean("immutable"),
        enable_compression: own.boolean("enable_compression"),
        allowed_types: own.texts("allowed_types"),
        max_size: own.size("max_size"),
    };
    let (url_prefix, dir) = (prefix_of(own), own.string("dir"));
    for (key, example) in [("url_prefix", "\"/uploads\""), ("dir", "\"./uploads\"")] {
        if own.place(key).is_none() {
            own.problem(key, &format!("missing; write {key} = {example} in each [[static.mounts]]"));
        }
    }
    Some(StaticMount { url_prefix: url_prefix?, dir: dir?.into(), options })
}

/// A path under which files are served.
pub(super) fn prefix_of(section: &Section<'_>) -> Option<String> {
    section.parsed("url_prefix", "a path", |text| match text {
        text if text.starts_with('/') && !text.contains([':', '*', '{', '}']) => Ok(text.to_owned()),
        text => Err(format!("\"{text}\" is no path; write it as \"/static\"")),
    })
}

/// The page of a single-page application.
pub(super) fn fallback_of(section: &Section<'_>) -> Option<String> {
    section.parsed("fallback", "a file's name", |text| {
        let is_below =
            !text.is_empty() && Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
        let wrong = || format!("\"{text}\" is no file below the directory; write it as \"index.html\"");
        if is_below { Ok(text.to_owned()) } else { Err(wrong()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn read(text: &str) -> Result<Static, String> {
        let config = Config::<()>::from_text(Path::new("shop.toml"), text);
        config.map(|config| config.files).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_directory_has_settings_of_its_own_over_those_of_static() {
        let text = "[static]\ndir = \"dist\"\nurl_prefix = \"/\"\nfallback = \"index.html\"\nmax_size = \"1MiB\"\n\
                    [[static.mounts]]\nurl_prefix = \"/uploads\"\ndir = \"up\"\nimmutable = false\nallowed_types = \"png, jpg\"\n\
                    [[static.mounts]]\nurl_prefix = \"/docs\"\ndir = \"docs\"\nfallback = \"en/index.html\"\n";
        let base = read(text).unwrap();
        let [uploads, docs] = &base.mounts[..] else { panic!("{:?}", base.mounts) };
        assert_eq!((uploads.url_prefix.as_str(), uploads.dir.as_path()), ("/uploads", Path::new("up")));
        let own = uploads.options.over(&base);
        assert_eq!((own.immutable, own.fallback, own.max_size), (false, None, Some(1 << 20)));
        assert_eq!(
            (own.allowed_types, own.index_files),
            (vec!["png".to_owned(), "jpg".to_owned()], base.index_files.clone())
        );
        let own = docs.options.over(&base);
        assert_eq!((own.immutable, own.fallback.as_deref()), (true, Some("en/index.html")));
    }

    #[test]
    fn what_is_wrong_with_a_directory_is_told_with_its_line() {
        let text = "[static]\ndir = \"a\"\nfallback = \"../index.html\"\n\
                    [[static.mounts]]\nurl_prefix = \"/static/\"\ndir = \"b\"\nimutable = true\n\
                    [[static.mounts]]\nurl_prefix = \"/x\"\n\
                    [[static.mounts]]\nurl_prefix = \"x\"\ndir = \"c\"\n";
        let told = read(text).unwrap_err();
        for line in [
            "shop.toml:3: static.fallback: \"../index.html\" is no file below the directory",
            "shop.toml:5: static.mounts.url_prefix: another directory has this path",
            "shop.toml:7: static.mounts.imutable: unknown key; did you mean \"immutable\"?",
            "static.mounts.dir: missing; write dir = \"./uploads\"",
            "shop.toml:11: static.mounts.url_prefix: \"x\" is no path",
        ] {
            assert!(told.contains(line), "no \"{line}\" in\n{told}");
        }
        assert_eq!(told.lines().count(), 5, "{told}");
        let told = read("[static]\nfallback = \"index.html\"\n").unwrap_err();
        assert!(
            told.starts_with("shop.toml:2: static.fallback: it is a file of static.dir, which is not set"),
            "{told}"
        );
    }

    #[test]
    fn in_debug_mode_nothing_is_kept() {
        let own = Static::default().in_mode(Mode::Debug);
        assert_eq!((own.cache_max_age, own.html_max_age, own.immutable), (Duration::ZERO, Duration::ZERO, false));
        for mode in [Mode::Release, Mode::Test] {
            assert_eq!(Static::default().in_mode(mode), Static::default());
        }
    }
}
