//! Profiles of the heap: of a program on jemalloc that asks for them, and the answer of every other one.

use harness::{Address, Process, alone};

use super::site::{TOKEN, ask, go_pprof, heap_fleet, private_sockets, shell, top, with_token};

#[test]
fn a_program_on_another_allocator_says_what_to_do() {
    let server = alone(&with_token());
    for path in ["/debug/pprof/heap", "/debug/pprof/heap?flame", "/debug/pprof/heap?debug=1"] {
        let answer = ask(server.address(), path);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 501, "{path}: {text}");
        for part in ["profile-heap", "gin_worker::heap_profiles!()"] {
            assert!(text.contains(part), "{path}: {text}");
        }
    }
}

/// Part of the whole that a function has with all that it calls, in per cent, by `go tool pprof -top -cum`.
fn part_of(printed: &str, function: &str) -> f64 {
    let row = printed.lines().find(|line| line.contains(function)).unwrap_or_else(|| panic!("{function}: {printed}"));
    row.split_whitespace().nth(4).and_then(|part| part.strip_suffix('%')?.parse().ok()).expect("a part in per cent")
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn the_leaking_function_is_named() {
    let gin = heap_fleet(1).start();
    let Address::Tcp(address) = gin.tcp() else { panic!("TCP") };
    for _ in 0..64 {
        assert_eq!(gin.get("/leak?kb=1024").status, 200);
    }
    // 8.3, with the token as password.
    let url = format!("http://:{TOKEN}@{address}/debug/pprof/heap");
    let printed = go_pprof(&["-top", &url]);
    assert!(top(&printed)[0].contains("leaking_function") && printed.contains("inuse_space"), "{printed}");
    let printed = go_pprof(&["-top", "-cum", &url]);
    assert!(part_of(&printed, "leaking_function") > 80.0, "{printed}");
    // The other kind of numbers in it. A small object that is sampled stands for so many that the leak's few are below what is shown.
    let printed = go_pprof(&["-top", "-cum", "-nodefraction=0", "-sample_index=inuse_objects", &url]);
    assert!(printed.contains("leaking_function"), "{printed}");
    // 8.1, word for word but for the socket.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let socket = private_sockets(&gin).remove(0).display().to_string();
    shell(&format!("curl -fsS --unix-socket {socket} http://localhost:8080/debug/pprof/heap > heap.prof"), dir.path());
    // With -cum all of the stack has the same part, and ten functions are shown.
    let printed = shell("echo top | go tool pprof heap.prof", dir.path());
    assert!(top(&printed)[0].contains("leaking_function"), "{printed}");
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn what_is_given_back_is_in_no_profile_and_a_profile_takes_no_memory_along() {
    let gin = heap_fleet(1).start();
    let Address::Tcp(address) = gin.tcp() else { panic!("TCP") };
    let url = format!("http://:{TOKEN}@{address}/debug/pprof/heap");
    for _ in 0..64 {
        assert_eq!(gin.get("/").status, 200);
    }
    let printed = go_pprof(&["-top", "-cum", &url]);
    assert!(!printed.contains("leaking_function"), "{printed}");
    let process = Process(u32::try_from(gin.workers()[0]).unwrap());
    let descriptors = || process.descriptors().1;
    let before = descriptors();
    for _ in 0..20 {
        assert_eq!(ask(&gin.tcp(), "/debug/pprof/heap").status, 200);
    }
    assert!(descriptors() <= before + 1, "{} descriptors, before {before}", descriptors());
    gin.ctl(&["profile", "--heap", "--out", &gin.dir().join("heap.prof").display().to_string()]).assert(0, &[]);
    gin.stop();
}
