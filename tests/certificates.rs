//! Certificates stand outside generations: the newest valid one is served, whoever starts, dies, or comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gin_shared::process::open_files;
use harness::{Builder, PATIENCE, Supervisor, eventually, supervisor};
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Two certificates of one host, which are known apart.
const PAIRS: [&str; 2] = ["server", "rsa"];

fn fixture(name: &str) -> PathBuf {
    harness::fixture("tls").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap()
}

/// Puts a pair where the configuration names it: each file whole, as certbot does it.
fn put(dir: &Path, name: &str) {
    for kind in ["pem", "key"] {
        let new = dir.join("tls").join(format!("new.{kind}"));
        std::fs::copy(fixture(&format!("{name}.{kind}")), &new).unwrap();
        std::fs::rename(new, dir.join("tls").join(format!("shop.{kind}"))).unwrap();
    }
}

/// A key that belongs to no certificate.
fn spoil(gin: &Supervisor) {
    std::fs::copy(fixture("mismatch.key"), gin.dir().join("tls/shop.key")).unwrap();
}

/// A supervisor whose listener speaks TLS.
fn with_https() -> Builder {
    let builder = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"");
    let dir = builder.dir().to_owned();
    std::fs::create_dir(dir.join("tls")).unwrap();
    put(&dir, "server");
    let (cert, key) = (dir.join("tls/shop.pem"), dir.join("tls/shop.key"));
    builder.section(&format!("[security]\nenable_https = true\ncert_file = {cert:?}\nkey_file = {key:?}"))
}

/// A client of one connection.
struct Client(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(BufReader::new(stream)))
    }

    /// The certificate that the server has shown.
    fn shown(&self) -> CertificateDer<'static> {
        self.0.get_ref().conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Asks, and reads the whole answer; gives whether the connection stays.
    fn get(&mut self) -> std::io::Result<bool> {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (mut length, mut stays, mut line) = (0, true, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            stays &= lower != "connection: close";
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(stays)
    }
}

fn shown(address: &str) -> CertificateDer<'static> {
    Client::connect(address).unwrap().shown()
}

/// Waits until new connections, of whichever worker, are shown this certificate: as many in a row as find all workers.
fn until_shown(address: &str, name: &str) {
    let look = || (0..16).map(|_| shown(address)).collect::<Vec<_>>();
    let wanted = certificate(name);
    eventually("the newest certificate is shown", look, |all| all.iter().all(|one| *one == wanted));
}

#[test]
fn replaced_twenty_times_under_load_each_new_one_is_served_and_nobody_is_hurt() {
    let gin = with_https().start();
    let address = gin.known_tcp();
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for is_one_shot in [true, true, false, false] {
            let (address, over, asked) = (&address, &over, &asked);
            scope.spawn(move || {
                let mut client = None;
                while !over.load(Ordering::Relaxed) {
                    let mut own = client.take().unwrap_or_else(|| Client::connect(address).unwrap());
                    let stays = own.get().unwrap();
                    asked.fetch_add(1, Ordering::Relaxed);
                    client = Some(own).filter(|_| stays && !is_one_shot);
                }
            });
        }
        for round in 1..=20 {
            let name = PAIRS[round % 2];
            put(gin.dir(), name);
            until_shown(&address, name);
        }
        let before = asked.load(Ordering::Relaxed);
        eventually("requests flow", || asked.load(Ordering::Relaxed), |now| *now > before + 20);
        over.store(true, Ordering::Relaxed);
    });
    assert!(gin.log().matches("certificate replaced: localhost (until 2126-01-01)").count() >= 19);
    gin.stop();
}

#[test]
fn a_bad_pair_is_told_everywhere_and_the_one_before_goes_on() {
    let gin = with_https().start();
    let address = gin.known_tcp();
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
    put(gin.dir(), "rsa");
    until_shown(&address, "rsa");
    gin.ctl(&["certs"]).assert(0, &["localhost"]);
    assert!(gin.status().problems.is_empty());
    gin.restart();
    gin.stop();
}

#[test]
fn a_start_with_a_bad_pair_fails_with_the_file_and_what_is_wrong() {
    let builder = with_https();
    std::fs::copy(fixture("expired.pem"), builder.dir().join("tls/shop.pem")).unwrap();
    let (code, log) = builder.fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("tls/shop.pem"), "{log}");
}

#[test]
fn whoever_comes_back_serves_the_newest() {
    let mut gin = with_https().start();
    let address = gin.known_tcp();
    gin.restart();
    put(gin.dir(), "rsa");
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
    put(gin.dir(), "server");
    gin.start_again();
    until_shown(&address, "server");
    gin.stop();
}

#[test]
fn workers_of_another_user_need_not_read_the_key_and_cannot_write_what_they_are_given() {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let builder = with_https().open_directory().set("user = \"nobody\"");
    let key = builder.dir().join("tls/shop.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gin = builder.start();
    assert_eq!(shown(&gin.known_tcp()), certificate("server"));
    for pid in gin.workers() {
        let material = open_files(pid).unwrap().find(|file| file.target.as_os_str() == "/memfd:gin-tls (deleted)");
        let place = format!("/proc/{pid}/fd/{}", material.expect("it has the memory").number);
        let mut file = std::fs::File::options().write(true).open(place).unwrap();
        assert!(file.write_all(b"x").is_err() && file.set_len(0).is_err());
        let filter = std::fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
        assert_eq!(u32::from_str_radix(filter.trim(), 16), Ok(0), "its memory would be in a core dump");
    }
    gin.stop();
}
