use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn directory() -> (tempfile::TempDir, u32) {
    let dir = tempfile::tempdir().unwrap();
    let own = fs::metadata(dir.path()).unwrap().uid();
    (dir, own)
}

fn make(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn doubt(path: &Path, own: u32) -> String {
    Directory::open_as(path, own).unwrap_err().why.to_string()
}

#[test]
fn a_directory_that_others_can_write_is_not_believed_nor_what_lies_below_it() {
    let (dir, own) = directory();
    let (open, below) = (dir.path().join("open"), dir.path().join("open/below"));
    make(&below, 0o755);
    for mode in [0o777, 0o775, 0o757] {
        make(&open, mode);
        assert_eq!(doubt(&open, own), format!("its mode is {mode:04o}"));
        assert_eq!(doubt(&below, own), format!("its mode is {mode:04o}"));
    }
    // As /tmp: what is ours there stays ours, but the place itself is everybody's.
    make(&open, 0o1777);
    assert_eq!(doubt(&open, own), "its mode is 1777");
    Directory::open_as(&below, own).unwrap();
    make(&open, 0o755);
    Directory::open_as(&open, own).unwrap();
}

#[test]
fn a_directory_of_another_user_is_believed_where_it_was_given_to_them_and_nothing_below_it() {
    let (dir, own) = directory();
    if own != 0 {
        // Only root can give a directory away.
        return;
    }
    let (theirs, below) = (dir.path().join("theirs"), dir.path().join("theirs/below"));
    make(&below, 0o755);
    std::os::unix::fs::chown(&theirs, Some(65534), None).unwrap();
    let given = Directory::open_as(&theirs, own).unwrap();
    assert!(given.believes(0) && given.believes(65534) && !given.believes(1));
    assert_eq!(given.ours().unwrap_err().why.to_string(), "it belongs to uid 65534");
    assert_eq!(doubt(&below, own), "it belongs to uid 65534");
    Directory::open_as(&below, 65534).unwrap();
    // Anybody can have made it.
    make(dir.path(), 0o1777);
    assert_eq!(doubt(&theirs, own), "it belongs to uid 65534");
    make(dir.path(), 0o700);
    let link = dir.path().join("link");
    symlink(dir.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
    make(dir.path(), 0o1777);
    assert_eq!(doubt(&link.join("theirs"), own), "it belongs to uid 65534");
}

#[test]
fn a_link_on_the_way_is_followed_if_it_is_ours_and_the_directory_itself_is_none() {
    let (dir, own) = directory();
    let (real, link) = (dir.path().join("real/run"), dir.path().join("link"));
    make(&real, 0o755);
    symlink("real/../real", &link).unwrap();
    assert_eq!(Directory::open_as(&link.join("run"), own).unwrap().names().unwrap(), Vec::<OsString>::new());
    assert_eq!(doubt(&link, own), "it is a link; name the directory itself");
    symlink("round", dir.path().join("round")).unwrap();
    assert!(matches!(Directory::open_as(&dir.path().join("round/x"), own).unwrap_err().why, Why::Io(_)));
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(doubt(&dir.path().join("file"), own), "it is not a directory");
    assert!(Directory::open_as(&dir.path().join("nothing"), own).unwrap_err().is_missing());
}

#[test]
fn the_overflow_user_is_nobody_only_where_neither_it_nor_root_has_a_number() {
    let nobody = |uid_map| nobody_of(uid_map, "65534\n");
    // unshare --map-root-user, and --map-current-user, as another user than root.
    assert_eq!(nobody("         0       1000          1\n"), Some(65534));
    assert_eq!(nobody("      1000       1000          1\n"), Some(65534));
    assert_eq!(nobody_of("0 1000 1", "99"), Some(99));
    // No namespace, and one of root.
    assert_eq!(nobody("         0          0 4294967295\n"), None);
    assert_eq!(nobody("0 1000 1\n1 0 1\n"), None);
    // A container's: somebody inside is 65534.
    assert_eq!(nobody("0 1000 1\n1 100000 65536\n"), None);
    assert_eq!(nobody("65534 1000 1\n"), None);
    assert_eq!([nobody("0 0\n"), nobody("a b c\n"), nobody_of("0 1000 1", "")], [None; 3]);
}

#[test]
fn a_directory_is_made_with_its_mode_where_nobody_else_can_have_one() {
    let (dir, _) = directory();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let path = dir.path().join("run");
    Directory::make(&path, 0o755).unwrap();
    assert_eq!(mode(&path), 0o755);
    // One that is there stays as it is.
    make(&path, 0o700);
    Directory::make(&path, 0o755).unwrap();
    assert_eq!(mode(&path), 0o700);
    // As in /tmp, and by way of a link of ours, as /var/run.
    let (open, link) = (dir.path().join("open"), dir.path().join("link"));
    make(&open, 0o1777);
    symlink(&open, &link).unwrap();
    Directory::make(&link.join("run"), 0o711).unwrap();
    assert_eq!(mode(&open.join("run")), 0o711);
    // A link in its place is none of ours, and changes nothing where it leads to.
    symlink(&path, open.join("planted")).unwrap();
    assert!(matches!(Directory::make(&open.join("planted"), 0o755).unwrap_err().why, Why::Link));
    assert_eq!(mode(&path), 0o700);
    make(&open, 0o777);
    assert!(matches!(Directory::make(&open.join("new"), 0o755).unwrap_err().why, Why::Mode(0o777)));
    assert!(!open.join("new").exists());
    assert!(Directory::make(&dir.path().join("none/run"), 0o755).unwrap_err().is_missing());
}

#[test]
fn below_a_directory_of_others_no_link_is_followed() {
    let (dir, own) = directory();
    let (real, open) = (dir.path().join("real"), dir.path().join("open"));
    make(&real.join("run"), 0o755);
    make(&open.join("run"), 0o755);
    fs::write(real.join("run/socket"), "precious").unwrap();
    fs::write(open.join("run/socket"), "").unwrap();
    symlink(&real, open.join("link")).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();
    let reach = |path: &str| Directory::of_file_anywhere_as(&dir.path().join(path), own);
    let size = |path: &str| {
        let (directory, name) = reach(path).unwrap();
        directory.look(&name).unwrap().metadata().unwrap().len()
    };
    // What lies on the way is ours.
    assert_eq!([size("link/run/socket"), size("real/run/socket")], [8, 8]);
    symlink("real/run", dir.path().join("last")).unwrap();
    assert_eq!(size("last/socket"), 8);
    for mode in [0o777, 0o1777] {
        make(&open, mode);
        assert_eq!(size("open/run/socket"), 0);
    }
    make(&open, 0o777);
    assert_eq!(reach("open/link/run/socket").unwrap_err().why.to_string(), Why::Link.to_string());
    // Not by a way back, either.
    symlink("run", open.join("run/inner")).unwrap();
    assert!(matches!(reach("open/run/../run/inner/socket").unwrap_err().why, Why::Link));
    assert!(matches!(reach("open/run/../../link/run/socket").unwrap_err().why, Why::Link));
    assert!(reach("open/none/socket").unwrap_err().is_missing());
}

#[test]
fn what_was_opened_is_used_whatever_its_path_leads_to_by_then() {
    let (dir, _) = directory();
    let (run, moved, victim) = (dir.path().join("run"), dir.path().join("moved"), dir.path().join("victim"));
    make(&run, 0o755);
    make(&victim, 0o755);
    fs::write(run.join("state"), "").unwrap();
    fs::write(victim.join("state"), "precious").unwrap();
    let opened = Directory::open(&run).unwrap();
    fs::rename(&run, &moved).unwrap();
    symlink(&victim, &run).unwrap();
    opened.remove(OsStr::new("state")).unwrap();
    assert!(!moved.join("state").exists() && victim.join("state").exists());
    // A link in it is the link, and not what it leads to.
    symlink(victim.join("state"), moved.join("state")).unwrap();
    assert!(opened.read(OsStr::new("state")).is_err() && opened.write(OsStr::new("state")).is_err());
    assert!(opened.create(OsStr::new("state"), 0o600).is_err());
    assert!(opened.look(OsStr::new("state")).unwrap().metadata().unwrap().is_symlink());
    opened.remove(OsStr::new("state")).unwrap();
    assert_eq!(fs::read_to_string(victim.join("state")).unwrap(), "precious");
}
