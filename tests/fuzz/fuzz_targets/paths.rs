//! A path and its normal form lead to the same file, or to none; and no file lies outside of the directory.
#![no_main]

use std::cell::OnceCell;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Component, PathBuf};

use gin_worker::axum::http::Uri;
use gin_worker::fuzz::{look_up, normalize};
use libfuzzer_sys::fuzz_target;

/// A directory of files with links that lead out of it. Its real path stands beside it.
struct Site(PathBuf, #[expect(dead_code, reason = "its files are there as long as it is")] tempfile::TempDir);

fn site() -> Site {
    let dir = tempfile::tempdir().expect("room");
    let at = |name: &str| dir.path().join(name);
    for directory in ["public/sub/.git", "outside"] {
        std::fs::create_dir_all(at(directory)).expect("room");
    }
    for name in ["public/a.txt", "public/a b", "public/sub/%2e", "public/.env", "public/sub/.git/config", "outside/x"] {
        std::fs::write(at(name), name).expect("room");
    }
    for (to, name) in
        [("../outside", "public/out"), ("/etc", "public/etc"), ("sub", "public/in"), ("/proc/self/root", "public/root")]
    {
        symlink(to, at(name)).expect("room");
    }
    Site(at("public").canonicalize().expect("it is there"), dir)
}

thread_local!(static SITE: OnceCell<Site> = const { OnceCell::new() });

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(uri) = format!("/{text}").parse::<Uri>() else { return };
    let normal = normalize(&uri);
    assert_eq!(normalize(&normal), normal, "the normal form is normal");
    assert_eq!(normal.query(), uri.query());
    SITE.with(|cell| {
        let Site(root, _) = cell.get_or_init(site);
        let (sent, seen) = (look_up(root, uri.path()), look_up(root, normal.path()));
        let (Some(sent), Some(seen)) = (&sent, &seen) else {
            return assert!(sent.is_none() && seen.is_none(), "{uri}: {sent:?}, and {normal}: {seen:?}");
        };
        assert_eq!((&sent.path, sent.is_directory), (&seen.path, seen.is_directory), "{uri} and {normal}");
        for part in seen.path.components() {
            let Component::Normal(name) = part else { panic!("{uri}: {:?}", seen.path) };
            assert!(!name.as_encoded_bytes().starts_with(b"."), "{uri}: {:?} is hidden", seen.path);
        }
        assert_eq!(sent.found.is_ok(), seen.found.is_ok(), "{uri} and {normal}");
        if let Ok(file) = &seen.found {
            let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("it is open");
            assert!(real.starts_with(root), "{uri} leads to {}", real.display());
        }
    });
});
