//! `gin-supervisor --watch`: a program that has become another one is a restart, and a build that fails changes nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use harness::{Supervisor, binary, supervisor, write_program};

/// A script at the path of a program, which is then executed.
fn app(text: &str) -> String {
    format!("#!/bin/sh\n{text}\nexec {} \"$@\"\n", binary("fixture-worker").display())
}

/// A supervisor with `--watch` and these paths, and its program.
fn watching(paths: &str) -> (Supervisor, PathBuf) {
    let builder = supervisor().ours("one", "ok").set("soak = \"0s\"");
    let (program, wrapper) = (builder.dir().join("app"), builder.dir().join("watching"));
    write_program(&program, &app(""));
    let own = binary("gin-supervisor");
    write_program(&wrapper, &format!("#!/bin/sh\nexec {} --watch {paths} \"$@\"\n", own.display()));
    let fixture = binary("fixture-worker").display().to_string();
    let gin = builder.replace(&fixture, &program.display().to_string()).program(&wrapper).start();
    gin.until_log("watching ");
    (gin, program)
}

/// Puts bytes in place of a program, at once.
fn put(program: &Path, bytes: &[u8], mode: u32) {
    let new = program.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(new, program).unwrap();
}

#[test]
fn a_new_program_is_a_restart() {
    let (gin, program) = watching("");
    let mut events = gin.events();
    write_program(&program, &app("# another one"));
    events.until("generation 2 begins, asked for by a change of ");
    events.until("generation 2 current");
    // In place, as some linkers write: it counts once it is closed.
    std::fs::write(&program, app("# a third one")).unwrap();
    events.until("generation 3 current");
    gin.ends_sound();
}

#[test]
fn a_program_that_is_not_complete_or_not_executable_changes_nothing() {
    let (gin, program) = watching("");
    let before = gin.workers();
    let whole = std::fs::read(binary("gin-ctl")).unwrap();
    put(&program, &whole[..whole.len() / 2], 0o755);
    gin.until_log("but it is not complete: no restart");
    put(&program, app("").as_bytes(), 0o644);
    gin.until_log("but it is not executable (mode 0644): no restart");
    assert_eq!((gin.generation().0, gin.workers()), (1, before), "something changed");
    let mut events = gin.events();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    events.until("generation 2 current");
    gin.stop();
}

#[test]
fn a_program_that_does_not_start_is_told_and_what_served_goes_on() {
    let (gin, program) = watching("");
    let before = gin.workers();
    let mut events = gin.events();
    write_program(&program, "#!/bin/sh\necho this build is broken >&2\nexit 3\n");
    events.until("generation 2 failed: ");
    gin.until_log("this build is broken");
    assert_eq!((gin.generation().0, gin.workers()), (1, before), "something changed");
    assert_eq!(gin.get("/").status, 200);
    write_program(&program, &app("# mended"));
    events.until("generation 3 current");
    gin.stop();
}

#[test]
fn a_newer_build_takes_the_place_of_one_that_does_not_get_ready() {
    let (gin, program) = watching("");
    let mut events = gin.events();
    write_program(&program, "#!/bin/sh\necho this build hangs >&2\nexec sleep 600\n");
    // The shell opens its script after the execve that makes a worker "started".
    gin.until_log("this build hangs");
    write_program(&program, &app("# mended"));
    events.until("generation 2 was cancelled: ");
    events.until("generation 3 current");
    gin.stop();
}

#[test]
fn files_that_are_named_are_a_restart_too_and_what_a_program_makes_is_not() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let source = dir.path().join("src");
    std::fs::create_dir_all(source.join("__pycache__")).unwrap();
    let (gin, _) = watching(&source.display().to_string());
    let mut events = gin.events();
    std::fs::write(source.join("__pycache__/a"), "1").unwrap();
    std::fs::write(source.join("a.py"), "1").unwrap();
    let begins = events.until("generation 2 begins");
    assert!(begins.text.ends_with("src/a.py"), "{begins:?}");
    events.until("generation 2 current");
    gin.stop();
}
