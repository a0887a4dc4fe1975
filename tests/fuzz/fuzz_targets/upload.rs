//! Forms, names and contents of files: whatever is sent, each stored file is whole, has a name of ours and is of its type.
#![no_main]

use std::cell::OnceCell;
use std::path::Path;

use gin_worker::axum::body::Bytes;
use gin_worker::uploads::{Form, Stored, UploadError, Uploads, fuzz};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

struct Site {
    runtime: Runtime,
    uploads: Uploads,
    dir: TempDir,
}

thread_local!(static SITE: OnceCell<Site> = const { OnceCell::new() });

fn site() -> Site {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    // In memory: each stored file is synced.
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let uploads = fuzz::uploads(dir.path());
    Site { runtime, uploads, dir }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let size = usize::from(first >> 2) + 1;
    match first & 3 {
        0 => name(rest),
        1 => contents(rest, size),
        _ => SITE.with(|cell| form(cell.get_or_init(site), rest, size)),
    }
});

fn name(original: &[u8]) {
    let Ok(original) = std::str::from_utf8(original) else { return };
    if let Some(made) = fuzz::name(original, 7) {
        assert!(fuzz::is_name(&made), "{original:?} became {made:?}");
        check(&made);
    }
    if fuzz::is_name(original) {
        check(original);
    }
}

fn check(name: &str) {
    assert!(name.len() <= 80 + 1 + 16 + 1 + name.rsplit('.').next().map_or(0, str::len), "{name:?}");
    assert!(!name.starts_with(['.', '-']) && Path::new(name).file_name().is_some_and(|last| last == name), "{name:?}");
    assert!(!name.chars().any(|letter| letter.is_control() || letter == '/' || letter == '\\'), "{name:?}");
}

/// Contents that come in one piece are judged as those that come in many.
fn contents(data: &[u8], size: usize) {
    let Some((&ending, bytes)) = data.split_first() else { return };
    let endings = ["txt", "png", "pdf", "docx", "doc", "zip", "jpeg", "mp4"];
    let name = format!("x_0000000000000007.{}", endings[usize::from(ending) % endings.len()]);
    let whole = fuzz::kind(&name, bytes, usize::MAX);
    assert_eq!(whole, fuzz::kind(&name, bytes, size), "{name}");
    if whole == Some("text/plain") {
        assert!(std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')), "{name}");
    }
}

fn form(site: &Site, body: &[u8], size: usize) {
    let pieces = body.chunks(size * 16).map(Bytes::copy_from_slice).collect();
    let form = fuzz::form(&site.uploads, "b", pieces).expect("a boundary");
    site.runtime.block_on(async {
        for stored in taken(form).await {
            let path = site.dir.path().join(&stored.filename);
            assert_eq!(path.metadata().expect("it is there").len(), stored.size);
            assert!(fuzz::is_name(&stored.filename), "{}", stored.filename);
            assert!(site.uploads.remove(&stored.filename).await.expect("a removal"));
        }
        assert!(site.uploads.list().await.expect("a list").is_empty(), "something is left");
    });
}

async fn taken(mut form: Form) -> Vec<Stored> {
    let mut all = Vec::new();
    loop {
        let field = match form.next().await {
            Ok(Some(field)) => field,
            Ok(None) | Err(UploadError::Malformed | UploadError::TooManyParts) => return all,
            Err(error) => panic!("{error}"),
        };
        match field.name().len() % 3 {
            0 => all.extend(field.save().await.ok()),
            1 => drop(field.text().await),
            _ => {}
        }
    }
}
