//! Profiles of the time on the CPU: what they name, who may take them, and that nothing is left of them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gin_shared::pprof::{Profile, Sample};
use harness::{Builder, Supervisor, alone, binary, eventually, get, supervisor, times};

use super::site::{ON, ask, begun, fleet, go_pprof, has_function, private, taken, top, with_token};

/// Threads of a process.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// A profile under load names something of gin-server's own, and the threads that have worked.
fn a_profile_has_samples(gin: &Supervisor) {
    let profile = taken(&private(gin), "/debug/pprof/profile?seconds=2", || {
        assert_eq!(gin.get("/").status, 200);
    });
    assert!(!profile.samples.is_empty(), "{profile:?}");
    assert!(has_function(&profile, "gin_"), "no function has a name: {profile:?}");
    let has_thread = |sample: &Sample| sample.labels.iter().any(|(name, _)| name == "thread");
    assert!(profile.samples.iter().all(has_thread), "{:?}", profile.samples);
}

#[test]
fn a_profile_tells_functions_and_threads_in_samples_and_in_nanoseconds() {
    let gin = supervisor().section(ON).start();
    let profile = taken(&private(&gin), "/debug/pprof/profile?seconds=1", || {
        assert_eq!(gin.get("/").status, 200);
    });
    let pair = |what: &str, unit: &str| (what.to_owned(), unit.to_owned());
    assert_eq!(profile.kinds, [pair("samples", "count"), pair("cpu", "nanoseconds")]);
    assert_eq!(profile.period, Some((pair("cpu", "nanoseconds"), 1_000_000_000 / 99)));
    a_profile_has_samples(&gin);
    gin.stop();
}

#[test]
fn a_worker_in_a_sandbox_takes_its_profile() {
    let gin = supervisor().section(ON).set("sandbox = { enable = true }").start();
    assert_eq!(gin.status().sandbox.as_deref(), Some("no_new_privs, no capabilities, seccomp"));
    a_profile_has_samples(&gin);
    gin.stop();
}

/// gin-server as another user, at a place where that user finds it.
fn of_another_user(builder: Builder) -> Builder {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let program = builder.dir().join("app");
    std::fs::copy(binary("gin-server"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    builder.open_directory().set(&format!("command = [{program:?}]\nuser = \"daemon\""))
}

#[test]
fn a_worker_of_another_user_takes_its_profile_and_names_functions_of_a_program_that_is_gone() {
    let gin = of_another_user(supervisor().section(ON)).start();
    a_profile_has_samples(&gin);
    std::fs::remove_file(gin.dir().join("app")).unwrap();
    a_profile_has_samples(&gin);
    gin.stop();
}

#[test]
fn nothing_is_left_of_profiles() {
    let server = alone(&with_token());
    let asked = |seconds: u32| ask(server.address(), &format!("/debug/pprof/profile?seconds={seconds}")).status;
    let before = (threads(server.pid()), server.descriptors().1);
    // What the first one brings along stays: symbols in the page cache, the heap's high-water mark.
    assert_eq!(asked(1), 200);
    let memory = server.memory("VmRSS");
    for _ in 0..times(4, 200) {
        assert_eq!(asked(1), 200);
    }
    // A thread of tokio's that has nothing to do leaves after 10 s, and tells nobody.
    let look = || (threads(server.pid()), server.descriptors().1);
    eventually("threads and descriptors are as before", look, |now| now.0 <= before.0 && now.1 <= before.1);
    let grown = server.memory("VmRSS").saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn the_hot_function_is_first_on_whatever_thread_it_runs() {
    let gin = fleet(1).start();
    let file = gin.dir().join("cpu.prof");
    // On a thread of the runtime, and on one that began after the profile: such are looked for four times a second.
    for path in ["/burn?ms=20", "/burn-on-thread?ms=900"] {
        let (mut client, head) = begun(&private(&gin), "/debug/pprof/profile?seconds=3");
        while !client.has_news() {
            assert_eq!(gin.get(path).status, 200, "{path}");
        }
        let body = client.rest_of(head).unwrap().body;
        std::fs::write(&file, &body).unwrap();
        let printed = go_pprof(&["-top", &file.display().to_string()]);
        assert!(top(&printed)[0].contains("hot_function"), "{path}: {printed}");
        let own = Profile::decode(&body).unwrap().top(1, 1).remove(0);
        assert!(own.function.contains("hot_function"), "{path}: {}", own.function);
    }
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn profiles_under_load_hurt_nobody_through_restarts_and_none_is_cut() {
    let gin = fleet(2).and_unix().start();
    let (load, over) = (gin.load(), AtomicBool::new(false));
    load.flows(100);
    thread::scope(|scope| {
        let (address, is_over) = (gin.tcp(), &over);
        let asked = scope.spawn(move || {
            let mut whole = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                let answer = ask(&address, "/debug/pprof/profile?seconds=1");
                assert!([200, 409].contains(&answer.status), "{}: {:?}", answer.status, answer.body);
                whole += usize::from(answer.status == 200 && Profile::decode(&answer.body).is_ok());
            }
            whole
        });
        for round in 0..times(3, 20) {
            let file = gin.dir().join(format!("{round}.prof")).display().to_string();
            // Its connections are of the private listeners, for which no drain waits, so it may lose a worker; or all are busy with a profile.
            let ctl = gin.ctl_in_background(&["profile", "--seconds", "2", "--out", &file]);
            load.flows(50);
            gin.restart();
            load.flows(50);
            let code = ctl.wait_with_output().unwrap().status.code();
            assert!([Some(0), Some(1), Some(4)].contains(&code), "{code:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(asked.join().unwrap() > 0, "no profile was taken");
    });
    load.finish().assert_unhurt();
    gin.ends_sound();
}

/// Points in the worker's source at which a test can have a profile fail, or the worker die.
fn points() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/src");
    let mut command = Command::new("grep");
    command.args(["-rhoE", r#"fault::at\("profile\.[a-z_]+""#]).arg(source);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn a_profile_that_fails_at_any_step_ends_no_worker_and_keeps_no_other_from_being_taken() {
    let all = points();
    assert!(!all.is_empty(), "the profiler names no step");
    let gin = supervisor().section(ON).faulty_workers().start();
    let (worker, address) = (gin.workers()[0], private(&gin));
    let orders = gin.dir().join("worker-faults");
    for what in ["EACCES", "panic"] {
        for point in &all {
            std::fs::write(&orders, format!("{point} {what}\n")).unwrap();
            // It is told by the status, or by a body without an end: only who asks for this profile is hurt.
            let failed = get(&address, "/debug/pprof/profile?seconds=1");
            std::fs::remove_file(&orders).unwrap();
            let next = get(&address, "/debug/pprof/profile?seconds=1").unwrap();
            assert_eq!(next.status, 200, "after {point} {what} ({failed:?}): {}", gin.log());
            assert!(Profile::decode(&next.body).is_ok(), "{point} {what}");
            assert_eq!(gin.workers(), [worker], "{point} {what}: {}", gin.log());
        }
    }
    gin.stop();
}
