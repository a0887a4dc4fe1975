//! Sessions resume, whichever worker, generation, master or host answers; and no move of a connection brings another ticket.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Address, Client, Https, Supervisor, VERSIONS, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use super::{clients, connect, with_https};
use crate::handover::{asks, until_new};

/// Keeps sessions, and counts the tickets of TLS 1.3.
#[derive(Debug)]
struct Counted {
    sessions: ClientSessionMemoryCache,
    tickets: AtomicUsize,
}

impl ClientSessionStore for Counted {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
        self.sessions.insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(server_name)
    }
}

/// A client that resumes its sessions.
fn resuming(https: Https) -> Https {
    https.configured(|config| config.resumption = Resumption::in_memory_sessions(64))
}

/// Clients of each version that do.
fn resuming_at(gin: &Supervisor) -> [Https; 2] {
    clients(gin).map(resuming)
}

/// Connects once more, and asks: with TLS 1.3 the next ticket comes before the answer. Gives whether the session was resumed.
fn resumes(https: &Https) -> bool {
    let mut client = connect(https).unwrap();
    let told = client.get("/tls").unwrap().json();
    let is_resumed = client.tls().is_resumed();
    assert_eq!(told["resumed"], is_resumed, "{told}");
    is_resumed
}

#[test]
fn sessions_resume_over_workers_generations_upgrades_in_place_and_the_masters_death() {
    let mut gin = with_https().workers(2).start();
    let both = resuming_at(&gin);
    let all_resume = |what: &str| {
        for https in &both {
            // Of whichever worker.
            assert!((0..4).all(|_| resumes(https)), "{what}");
        }
    };
    for https in &both {
        assert!(!resumes(https), "there was no session");
    }
    all_resume("another worker");
    gin.restart();
    all_resume("a restart");
    gin.ctl(&["rollback"]).assert(0, &[]);
    all_resume("a rollback");
    let before = gin.workers();
    let mut events = gin.events();
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
    events.until("worker serving");
    all_resume("a respawn");
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.restart();
    all_resume("an upgrade in place");
    gin.die_and_adopt();
    gin.restart();
    all_resume("an adoption");
    gin.stop();
}

#[test]
fn hosts_with_one_secret_resume_each_others_sessions_and_others_do_not() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let host = |secret: &Path| with_https().security(&format!("ticket_secret_file = {secret:?}")).start();
    let [shared, own] = ["shared", "own"].map(|name| {
        let file = dir.path().join(name);
        std::fs::write(&file, name.repeat(20)).unwrap();
        file
    });
    let (one, two, stranger) = (host(&shared), host(&shared), host(&own));
    for https in resuming_at(&one) {
        assert!(!resumes(&https));
        let at_two = https.clone().moved_to(two.https_socket());
        assert!(resumes(&at_two));
        assert!(resumes(&https));
        two.restart();
        assert!(resumes(&at_two));
        assert!(!resumes(&https.moved_to(stranger.https_socket())));
    }
    [one, two, stranger].into_iter().for_each(Supervisor::stop);
}

#[test]
fn no_move_brings_another_ticket() {
    let gin = with_https().start();
    let sessions = Arc::new(Counted { sessions: ClientSessionMemoryCache::new(64), tickets: AtomicUsize::new(0) });
    let store = Arc::clone(&sessions);
    let [_, newer] = clients(&gin);
    let mut client = connect(&newer.configured(|config| config.resumption = Resumption::store(store))).unwrap();
    asks(&mut client);
    for _ in 0..12 {
        gin.restart();
        until_new(&gin, &mut client);
    }
    assert_eq!(sessions.tickets.load(Ordering::Relaxed), 1);
    drop(client);
    gin.stop();
}

#[test]
fn no_client_sends_a_request_before_the_handshake_is_over() {
    let gin = with_https().start();
    let [_, newer] = resuming_at(&gin);
    // Who reads along could send it once more.
    let eager = newer.configured(|config| config.enable_early_data = true);
    assert!(!resumes(&eager));
    assert!(resumes(&eager));
    assert!(eager.handshake().early_data().is_none(), "although it could resume");
    gin.stop();
}

#[test]
fn without_tickets_no_session_resumes() {
    let gin = with_https().security("session_tickets = false").start();
    for https in resuming_at(&gin) {
        assert!(!resumes(&https) && !resumes(&https));
    }
    gin.stop();
}

#[test]
fn who_needs_a_certificate_shows_it_each_time() {
    let ca = harness::tls_file("ca.pem");
    let lines = format!("client_ca_file = {ca:?}\nclient_auth = \"required\"");
    let gin = supervisor().ours("one", "ok").https().security(&lines).set("soak = \"0s\"").start();
    for version in VERSIONS {
        let https = resuming(Https::with(gin.https_socket(), &[version], Some("client")));
        for _ in 0..2 {
            assert!(!resumes(&https));
            let told = Client::connect(&https.clone().into()).unwrap().get("/tls").unwrap().json();
            assert_eq!(told["client"], "client7.test");
        }
    }
    gin.stop();
}

#[test]
fn the_ticket_of_another_listener_spares_nobody_a_certificate() {
    let ca = harness::tls_file("ca.pem");
    let asking = |auth: &str| {
        let tls = format!("{{ client_ca_file = {ca:?}, client_auth = {auth:?} }}");
        format!("[[supervisor.listen]]\nname = {auth:?}\naddress = \"127.0.0.1:0\"\ntls = {tls}\n")
    };
    let gin = with_https().section(&(asking("required") + &asking("optional"))).start();
    let [required, optional] = ["required", "optional"].map(|name| match gin.listener(name) {
        Address::Tcp(address) => address,
        other => panic!("{other:?}"),
    });
    for https in resuming_at(&gin) {
        // A client without a certificate, whose ticket the worker takes.
        assert!(!resumes(&https) && resumes(&https));
        let at_required = connect(&https.clone().moved_to(required)).and_then(|mut client| client.get("/tls"));
        assert!(at_required.is_err(), "it is served without a certificate");
        // TLS 1.3 uses a ticket once.
        assert!(resumes(&https) || resumes(&https));
        let mut client = connect(&https.moved_to(optional)).unwrap();
        let told = client.get("/tls").unwrap().json();
        assert!(told["resumed"] == false && told["client"].is_null(), "{told}");
    }
    gin.stop();
}
