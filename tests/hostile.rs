//! Garbage at every door: a clear refusal, nothing lost, bounded memory.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gin_shared::process::open_files;
use harness::{Address, Client, PATIENCE, Supervisor, eventually, on_change, supervisor, times};

use crate::limits::let_in;

fn send(gin: &Supervisor, bytes: &[u8]) -> String {
    send_to(&gin.socket(), bytes)
}

fn send_to(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed before all is written: then the answer is what counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(gin: &Supervisor, path: &str, body: &str) -> String {
    let length = body.len();
    send(
        gin,
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    )
}

#[test]
fn garbage_on_the_control_socket_is_answered_with_4xx() {
    let gin = supervisor().ours("one", "ok").start();
    for garbage in [&b"\0\x01\x02\xff\xfe\r\n\r\n"[..], b"HELO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let answer = send(&gin, garbage);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    }
    for (path, body) in [
        ("/v1/restart", "{"),
        ("/v1/restart", "{\"x\":1}"),
        ("/v1/scale", "{\"workers\":0}"),
        ("/v1/scale", "[]"),
        ("/v1/stop", "\"no\""),
    ] {
        let answer = post(&gin, path, body);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"error\""), "{path} {body}: {answer}");
    }
    assert!(post(&gin, "/v1/nothing", "").starts_with("HTTP/1.1 404"));
    assert!(
        send(&gin, b"GET /v1/restart HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405")
    );
    assert!(
        send(&gin, b"GET /v1/operations/99 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 404")
    );
    // Who may only look cannot act.
    let status = gin.dir().join("run/status.sock");
    harness::Ctl::run(&status, &["status"]).assert(0, &["serving"]);
    harness::Ctl::run(&status, &["restart"]).assert(5, &["may only look"]);
    assert_eq!(gin.generation().0, 1);
    gin.restart();
    gin.stop();
}

#[test]
fn a_hundred_megabytes_to_the_control_socket_are_not_kept() {
    let gin = supervisor().ours("one", "ok").start();
    let before = gin.memory();
    let large = vec![b' '; 100 << 20];
    let head =
        format!("POST /v1/restart HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", large.len());
    let answer = send(&gin, &[head.as_bytes(), &large].concat());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Without a head at all.
    let answer = send(&gin, &large);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let after = gin.memory();
    assert!(after < before + 4096, "{before} KiB, then {after} KiB");
    gin.restart();
    gin.stop();
}

#[test]
fn callers_that_say_nothing_do_not_keep_others_out() {
    let gin = supervisor().ours("one", "ok").start();
    let silent: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(gin.socket()).unwrap()).collect();
    gin.ctl(&["status"]).assert(0, &["serving"]);
    drop(silent);
    gin.stop();
}

#[test]
fn who_has_said_all_hears_the_answer_and_who_has_left_frees_its_place() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    assert!(post(&gin, "/v1/restart", "").starts_with("HTTP/1.1 202"));
    // `send` closes its half before anything is answered.
    let steps = send(&gin, b"GET /v1/operations/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(steps.starts_with("HTTP/1.1 200") && steps.contains("\"ended\""), "{steps}");
    // Nothing happens meanwhile: that nobody listens any more cannot be learned from writing.
    for number in 0..300 {
        let mut follower = UnixStream::connect(gin.socket()).unwrap();
        follower.set_read_timeout(Some(PATIENCE)).unwrap();
        follower.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 12];
        follower.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200", "follower {number}");
    }
    gin.stop();
}

#[test]
fn however_many_follow_the_events_a_command_hears_its_outcome() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let follow = |_| {
        let mut follower = UnixStream::connect(gin.socket()).unwrap();
        follower.set_read_timeout(Some(PATIENCE)).unwrap();
        follower.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 12];
        follower.read_exact(&mut head).unwrap();
        (head == *b"HTTP/1.1 200", follower)
    };
    let followers: Vec<(bool, UnixStream)> = (0..192).map(follow).collect();
    assert!(followers.iter().any(|(followed, _)| !followed), "none was refused");
    gin.restart();
    drop(followers);
    gin.stop();
}

#[test]
fn an_output_that_nobody_reads_stops_nothing() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let told = harness::Notifications::listen(&dir.path().join("notify"));
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let mut child = std::process::Command::new(harness::binary("gin-supervisor"))
        .args(["--listen", "127.0.0.1:0", "--"])
        .arg(harness::binary("gin-server"))
        .env("RUNTIME_DIRECTORY", &run)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let _ = told.until(0, "READY=1");
    let ctl = |args: &[&str]| harness::Ctl::run(&run.join("control.sock"), args);
    // Each is a line of more than 100 bytes, and the pipe holds 64 KiB.
    for _ in 0..650 {
        let cancel = b"POST /v1/cancel HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let answer = send_to(&run.join("control.sock"), cancel);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    // Nothing is there to cancel, which is logged each time. A pipe has no event for how full it is.
    let stderr = child.stderr.as_ref().unwrap();
    eventually("the pipe is full", || rustix::io::ioctl_fionread(stderr).unwrap(), |bytes| *bytes >= 60_000);
    ctl(&["restart"]).assert(0, &[]);
    ctl(&["scale", "2"]).assert(0, &[]);
    ctl(&["scale", "1"]).assert(0, &[]);
    ctl(&["status"]).assert(0, &["1/1 serving"]);
    ctl(&["stop", "--fast"]).assert(0, &["stopped"]);
    // The last lines are still in its way out: they are lost, and it ends.
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_hundred_thousand_datagrams_on_the_notify_socket_cost_nothing() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let before = gin.memory();
    let notify: PathBuf = std::fs::read_dir(gin.dir().join("run"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "notify"))
        .unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(&notify).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let garbage = vec![0xff; 8192];
    let began = std::time::Instant::now();
    for number in 0..100_000 {
        assert!(began.elapsed() < 2 * PATIENCE, "{number} only");
        let text = format!("STATUS=number {number}\nREADY=1\nEXTEND_TIMEOUT_USEC=1\nMAINPID=1");
        let message: &[u8] = if number % 2 == 0 { text.as_bytes() } else { &garbage[..number % 8192] };
        // Blocks while the queue is full: so all of them were read in the end.
        if let Err(error) = socket.send(message) {
            panic!("number {number}: {error}: {}", gin.predicament());
        }
    }
    let after = gin.memory();
    assert!(after < before + 4096, "{before} KiB, then {after} KiB");
    gin.restart();
    gin.stop();
}

/// SECURITY.md's word on a worker of another user, tried out: it writes down what it could do.
#[test]
fn a_malicious_worker_of_another_user_harms_nobody_but_itself() {
    let program = harness::fixture("malicious.py");
    let gin = supervisor()
        .open_directory()
        .workers(2)
        .set(&format!("command = [\"/usr/bin/python3\", {program:?}]"))
        .set("user = \"nobody\"\nsoak = \"0s\"\nready_timeout = \"6s\"\ndirectory = \"/tmp\"");
    let work = gin.dir().join("work");
    std::fs::create_dir(&work).unwrap();
    std::os::unix::fs::chown(&work, Some(65534), None).unwrap();
    let gin = gin.replace("directory = \"/tmp\"", &format!("directory = {work:?}"));
    let mut child = gin.spawn();
    let report = work.join("report");
    on_change(&work, "the worker has written its report", || (report.exists(), child.log()), |(exists, _)| *exists);
    // The worker has sent thousands of descriptors by now. The master may just be reading some: those stay for a moment,
    // and the kernel has no event for their number.
    let directory = format!("/proc/{}/fd", child.pid());
    let descriptors = || std::fs::read_dir(&directory).unwrap().count();
    eventually("the master keeps none of the descriptors", descriptors, |count| *count < 60);
    let peak = child.peak_memory_until_exit();
    // Slot 1 was never ready, whatever slot 0 said of it.
    assert_eq!(child.wait(), 1, "{}", child.log());
    let log = child.log();
    assert!(log.contains("no READY=1 within ready_timeout"), "{log}");
    assert!(log.contains("none of the worker's"), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    println!("{report:#}, {peak} KiB");
    assert_eq!(report["could"], serde_json::json!([]), "{report:#}");
    assert_eq!(report["descriptors"], serde_json::json!(["socket"]), "{report:#}");
    assert!(peak < 40 * 1024, "{peak} KiB");
}

#[test]
fn a_descriptor_that_does_not_close_holds_up_neither_the_master_nor_its_successor() {
    // Who closes last lingers: the master, which stands still until the worker has closed its own.
    let script = "import os, signal, socket, struct\n\
                  listening = socket.create_server(('127.0.0.1', 0))\n\
                  def send_slow():\n  \
                  slow = socket.create_connection(listening.getsockname())\n  \
                  slow.setblocking(False)\n  \
                  try:\n    \
                  while True: slow.send(bytes(1 << 16))\n  \
                  except BlockingIOError: pass\n  \
                  slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))\n  \
                  socket.send_fds(s, [b'BARRIER=1'], [slow.fileno()])\n  \
                  slow.close()\n\
                  def stopped(task):\n  \
                  return open(f'/proc/{master}/task/{task}/stat').read().rsplit(')', 1)[1].split()[0] == 'T'\n\
                  master = os.getppid()\n\
                  s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                  s.connect(os.environ['NOTIFY_SOCKET'])\n\
                  os.kill(master, signal.SIGSTOP)\n\
                  while not all(map(stopped, os.listdir(f'/proc/{master}/task'))): pass\n\
                  send_slow()\n\
                  send_slow()\n\
                  os.kill(master, signal.SIGCONT)\n\
                  s.send(b'READY=1')\n\
                  signal.pause()\n";
    let settings = format!("command = [\"/usr/bin/python3\", \"-c\", {script:?}]\nsoak = \"0s\"");
    let gin = supervisor().set(&settings).start();
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.ctl(&["upgrade-supervisor"]).assert(1, &["take long to close"]);
    // The peers of these sockets end with their worker.
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.ctl(&["stop"]).assert(0, &[]);
}

#[test]
fn a_worker_that_shuts_the_listener_down_does_not_end_the_service() {
    let gin = supervisor().foreign("one", "shutdown").and_unix().set("soak = \"0s\"").start();
    let unix = gin.unix();
    for _ in 0..3 {
        // The old one does it on its way out.
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        assert_eq!(gin.get("/").status, 200);
        // A Unix socket is open once: it is made anew.
        gin.restart();
        gin.releases().release("one", "ok");
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        assert_eq!(harness::get(&unix, "/").unwrap().status, 200);
        gin.releases().release("one", "shutdown");
    }
    gin.until_log("has shut the listener down");
    gin.ctl(&["stop"]).assert(0, &[]);
}

#[test]
fn followers_of_the_status_socket_take_nobodys_place() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let status = gin.dir().join("run/status.sock");
    let followers: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut follower = UnixStream::connect(&status).unwrap();
            follower.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            follower
        })
        .collect();
    gin.restart();
    drop(followers);
    gin.stop();
}

#[test]
fn who_asks_a_master_that_hangs_is_told_so() {
    use nix::sys::signal::Signal;
    let gin = supervisor().ours("one", "ok").start();
    gin.signal(Signal::SIGSTOP);
    gin.ctl(&["restart", "--timeout", "1s"]).assert(6, &["did not answer in time"]);
    gin.ctl(&["status"]).assert(6, &["does not answer", &gin.pid().to_string()]);
    gin.signal(Signal::SIGCONT);
    // Who had left before it was heard wants nothing any more.
    gin.ctl(&["status"]).assert(0, &["serving"]);
    assert_eq!(gin.generation().0, 1);
    gin.stop();
}

/// The memory that all workers share, as any process of their user can open it.
fn shared_memory(gin: &Supervisor) -> File {
    let worker = gin.workers()[0];
    let mut files = open_files(worker).unwrap();
    let memory =
        files.find(|file| file.target.as_os_str() == "/memfd:gin-memory (deleted)").expect("it has the memory");
    File::options().read(true).write(true).open(format!("/proc/{worker}/fd/{}", memory.number)).unwrap()
}

/// The next of a row of words: any number, one at the edge, or a time that may be near.
fn nonsense(last: &mut u64) -> u64 {
    // A multiplicative congruence: any spread will do.
    *last = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    match *last >> 61 {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX / 2,
        // Within 19 hours of the machine's start, in nanoseconds.
        3 => *last >> 18,
        _ => *last,
    }
}

/// Says that it is over when it is dropped, however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Requests of many clients over one connection: each is answered, let in or not.
fn ask_as_many(address: &Address, network: usize) {
    let mut connection = Client::connect(address).unwrap();
    for number in 0..times(200, 5_000) {
        let client = format!("198.51.{network}.{}", number % 250);
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
        connection.send(head.as_bytes()).unwrap();
        let answer = connection.response().unwrap();
        assert!([200, 429].contains(&answer.status), "{}", answer.status);
        if answer.closes() {
            connection = Client::connect(address).unwrap();
        }
    }
}

#[test]
fn whatever_is_written_into_the_shared_memory_the_service_goes_on_and_a_restart_repairs_it() {
    let limit = "[rate_limit]\nenable = true\nrate = 50\nwindow = \"10h\"\nclients = 1024";
    let sections = format!("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n{limit}");
    let gin = supervisor().workers(2).set("soak = \"0s\"").section(&sections).start();
    let (address, memory, is_over) = (gin.tcp(), shared_memory(&gin), AtomicBool::new(false));
    let words = memory.metadata().unwrap().len() / 8;
    let mut header = [0; 8];
    memory.read_exact_at(&mut header, 0).unwrap();
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| {
            let mut last = 1;
            while !is_over.load(Ordering::SeqCst) {
                for word in 0..words {
                    memory.write_all_at(&nonsense(&mut last).to_ne_bytes(), word * 8).unwrap();
                }
            }
        });
        let address = &address;
        let ask = |network| scope.spawn(move || ask_as_many(address, network));
        let clients: Vec<_> = (0..4).map(ask).collect();
        // Workers that start meanwhile find nonsense, too.
        gin.restart();
        clients.into_iter().for_each(|client| client.join().unwrap());
        drop(over);
    });
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    let mut repaired = [0; 8];
    memory.read_exact_at(&mut repaired, 0).unwrap();
    assert_eq!(repaired, header);
    // Both workers count together again, and whoever is new gets what is allowed.
    let let_in = let_in(&gin, &["192.0.2.1", "2001:db8::1"], 60);
    assert!(let_in.values().all(|count| *count == 50), "{let_in:?}: {}", gin.log());
    gin.stop();
}
