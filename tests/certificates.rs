//! Certificates stand outside generations: the newest valid one is served, whoever starts, dies, or comes back.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gin_shared::process::open_files;
use harness::{Address, Builder, Client, Supervisor, certificate, eventually, put_pair, supervisor, tls_file};
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;

/// Two certificates of one host, which are known apart.
const PAIRS: [&str; 2] = ["server", "rsa"];

/// A key that belongs to no certificate.
fn spoil(gin: &Supervisor) {
    std::fs::copy(tls_file("mismatch.key"), gin.dir().join("tls/shop.key")).unwrap();
}

/// A supervisor that speaks TLS, too.
fn with_https() -> Builder {
    supervisor().workers(2).ours("one", "ok").https().set("soak = \"0s\"")
}

fn shown(address: &Address) -> CertificateDer<'static> {
    Client::connect(address).unwrap().tls().shown()
}

/// Waits until new connections, of whichever worker, are shown this certificate: as many in a row as find all workers.
fn until_shown(address: &Address, name: &str) {
    // Whom the kernel gives a connection, and what its worker has read by then, nobody tells.
    let look = || (0..16).map(|_| shown(address)).collect::<Vec<_>>();
    let wanted = certificate(name);
    eventually("the newest certificate is shown", look, |all| all.iter().all(|one| *one == wanted));
}

#[test]
fn replaced_twenty_times_under_load_each_new_one_is_served_and_nobody_is_hurt() {
    let gin = with_https().start();
    let address = gin.https();
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut waits: Vec<Duration> = Vec::new();
    std::thread::scope(|scope| {
        for is_one_shot in [true, true, false, false] {
            let (address, over, asked) = (&address, &over, &asked);
            scope.spawn(move || {
                let mut client = None;
                while !over.load(Ordering::Relaxed) {
                    let mut own = client.take().unwrap_or_else(|| Client::connect(address).unwrap());
                    let answer = own.get("/").unwrap();
                    assert_eq!(answer.status, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                    client = Some(own).filter(|_| !answer.closes() && !is_one_shot);
                }
            });
        }
        for round in 1..=20 {
            let name = PAIRS[round % 2];
            put_pair(gin.dir(), name);
            let replaced = Instant::now();
            until_shown(&address, name);
            waits.push(replaced.elapsed());
        }
        let before = asked.load(Ordering::Relaxed);
        eventually("requests flow", || asked.load(Ordering::Relaxed), |now| *now > before + 20);
        over.store(true, Ordering::Relaxed);
    });
    // A second is promised. The slowest ones may have waited for a core.
    waits.sort_unstable();
    assert!(waits[waits.len() / 2] < Duration::from_secs(1), "{waits:?}");
    assert!(gin.log().matches("certificate replaced: localhost (until 2126-01-01)").count() >= 19);
    gin.stop();
}

#[test]
fn a_directory_that_takes_the_place_of_another_counts_each_time() {
    let gin = with_https().start();
    let at = |name: &str| gin.dir().join(name);
    for (round, name) in ["rsa", "server", "rsa"].into_iter().enumerate() {
        std::fs::create_dir(at("next")).unwrap();
        for kind in ["pem", "key"] {
            std::fs::copy(tls_file(&format!("{name}.{kind}")), at("next").join(format!("shop.{kind}"))).unwrap();
        }
        std::fs::rename(at("tls"), at(&format!("tls before round {round}"))).unwrap();
        std::fs::rename(at("next"), at("tls")).unwrap();
        until_shown(&gin.https(), name);
    }
    gin.stop();
}

#[test]
fn a_bad_pair_is_told_everywhere_and_the_one_before_goes_on() {
    let gin = with_https().start();
    let address = gin.https();
    gin.ctl(&["certs"]).assert(0, &["localhost", "2126-01-01", "tls/shop.pem"]);
    spoil(&gin);
    gin.until_log("is another certificate's; the one until 2126-01-01 stays in use");
    let told = gin.status().problems;
    assert!(told.iter().any(|text| text.contains("shop.pem: the key in")), "{told:?}");
    assert!(!gin.status().degraded);
    gin.ctl(&["certs"]).assert(1, &["on disk: ", "is another certificate's"]);
    gin.ctl(&["metrics"]).assert(0, &["gin_tls_certificate_bad{", "gin_tls_certificate_expiry_seconds{"]);
    assert_eq!(shown(&address), certificate("server"));
    // No restart comes by it, a reload leaves it, and a good pair ends it.
    let (workers, generation) = (gin.workers(), gin.generation());
    gin.ctl(&["restart"]).assert(2, &["nothing changed", "is another certificate's"]);
    assert_eq!((gin.workers(), gin.generation()), (workers, generation));
    gin.signal(Signal::SIGUSR1);
    assert_eq!(shown(&address), certificate("server"));
    put_pair(gin.dir(), "rsa");
    until_shown(&address, "rsa");
    gin.ctl(&["certs"]).assert(0, &["localhost"]);
    assert!(gin.status().problems.is_empty());
    gin.restart();
    gin.stop();
}

#[test]
fn a_pair_that_is_put_back_is_told_to_be_good_again() {
    let gin = with_https().start();
    spoil(&gin);
    gin.until_log("is another certificate's; the one until");
    put_pair(gin.dir(), "server");
    gin.until_log("tls/shop.pem is good again: it is what is in use");
    assert!(gin.status().problems.is_empty());
    gin.stop();
}

#[test]
fn a_start_with_a_bad_pair_fails_with_the_file_and_what_is_wrong() {
    let builder = with_https();
    std::fs::copy(tls_file("expired.pem"), builder.dir().join("tls/shop.pem")).unwrap();
    let (code, log) = builder.fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("tls/shop.pem"), "{log}");
}

#[test]
fn whoever_comes_back_serves_the_newest() {
    let mut gin = with_https().start();
    let address = gin.https();
    gin.restart();
    put_pair(gin.dir(), "rsa");
    until_shown(&address, "rsa");
    // Nothing on disk can be used any more: what was read stays.
    spoil(&gin);
    gin.until_log("is another certificate's; the one until");
    let before = gin.workers();
    for pid in &before {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
    }
    eventually(
        "other workers serve",
        || gin.workers(),
        |now| now.len() == 2 && now.iter().all(|pid| !before.contains(pid)),
    );
    until_shown(&address, "rsa");
    gin.ctl(&["rollback"]).assert(0, &[]);
    until_shown(&address, "rsa");
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.ctl(&["scale", "3"]).assert(0, &[]);
    until_shown(&address, "rsa");
    gin.die_and_adopt();
    gin.ctl(&["scale", "4"]).assert(0, &[]);
    until_shown(&address, "rsa");
    // Also what changes while there is no master.
    gin.kill();
    put_pair(gin.dir(), "server");
    gin.start_again();
    until_shown(&address, "server");
    gin.stop();
}

#[test]
fn a_worker_that_cannot_be_sent_the_newest_gets_it_a_little_later() {
    let gin = with_https().faulty().start();
    gin.order("handover.send EAGAIN 0 once");
    put_pair(gin.dir(), "rsa");
    gin.until_log("cannot send Material");
    until_shown(&gin.https(), "rsa");
    gin.stop();
}

#[test]
fn workers_of_another_user_need_not_read_the_key_and_cannot_write_what_they_are_given() {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let builder = with_https().open_directory().set("user = \"nobody\"");
    let key = builder.dir().join("tls/shop.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gin = builder.start();
    assert_eq!(shown(&gin.https()), certificate("server"));
    for pid in gin.workers() {
        let material = open_files(pid).unwrap().find(|file| file.target.as_os_str() == "/memfd:gin-tls (deleted)");
        let place = format!("/proc/{pid}/fd/{}", material.expect("it has the memory").number);
        let mut file = File::options().write(true).open(place).unwrap();
        assert!(file.write_all(b"x").is_err() && file.set_len(0).is_err());
        let filter = std::fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
        assert_eq!(u32::from_str_radix(filter.trim(), 16), Ok(0), "its memory would be in a core dump");
    }
    gin.stop();
}
