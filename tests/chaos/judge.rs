//! The verdict: each hurt of a client is explained, or the test fails.
//!
//! A hurt is explained if a worker that the scenario killed, or let its watchdog kill, held that very connection. The
//! connections of a worker are read while all its threads stand still, right before its death. So a connection that
//! another worker had taken over by then is no excuse. A close that was announced (`Connection: close`, GOAWAY, a close
//! frame with code 1001) is no hurt.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gin_shared::process::{OpenFile, Pidfd, open_files};
use harness::Failure;
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

/// A failure shows what was done in this time before it.
const BEFORE: Duration = Duration::from_secs(5);
/// The most hurts that a failure shows.
const SHOWN: usize = 10;

/// A client that was hurt.
#[derive(Debug)]
pub struct Hurt {
    /// The moment when the client learned of it. This time and all others count from the start of the scenario.
    pub at: Duration,
    /// The moment before the client connected.
    pub since: Duration,
    /// The client's port; none if it got no connection.
    pub port: Option<u16>,
    /// The kind of client.
    pub client: String,
    pub failure: Failure,
}

/// The death of a worker that the scenario has ordered.
#[derive(Debug)]
pub struct Death {
    pub at: Duration,
    /// The clients' ports of the connections that it held.
    pub ports: BTreeSet<u16>,
}

/// Everything that the scenario has done.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    entries: Vec<(Duration, String)>,
    deaths: Vec<Death>,
}

impl Journal {
    pub fn new(began: Instant) -> Self {
        Self { began, entries: Vec::new(), deaths: Vec::new() }
    }

    /// Notes what is done. It is printed, too: a failure that is no hurt shows it then.
    pub fn note(&mut self, text: String) {
        let at = self.began.elapsed();
        println!("{:9.3} {text}", at.as_secs_f64());
        self.entries.push((at, text));
    }

    /// Notes that a worker is about to be killed, with all that it holds.
    pub fn death(&mut self, pid: i32, ports: BTreeSet<u16>) {
        self.note(format!("worker {pid} dies with {} connections", ports.len()));
        self.deaths.push(Death { at: self.began.elapsed(), ports });
    }

    fn before(&self, at: Duration) -> String {
        let mut text = String::new();
        for (when, what) in self.entries.iter().filter(|(when, _)| (at.saturating_sub(BEFORE)..=at).contains(when)) {
            let _ = writeln!(text, "{:9.3} {what}", when.as_secs_f64());
        }
        text
    }
}

/// True if a worker that held this connection was killed while it was open.
fn is_explained(hurt: &Hurt, deaths: &[Death]) -> bool {
    let Some(port) = hurt.port else { return false };
    deaths.iter().any(|death| death.ports.contains(&port) && (hurt.since..=hurt.at).contains(&death.at))
}

/// Returns the number of hurts if each of them is explained.
///
/// # Panics
/// If one is not. The message has what was done before it.
pub fn judge(journal: &Journal, hurts: &[Hurt]) -> usize {
    let unexplained: Vec<&Hurt> = hurts.iter().filter(|hurt| !is_explained(hurt, &journal.deaths)).collect();
    let mut text = format!("{} of {} hurts are not explained:\n", unexplained.len(), hurts.len());
    for hurt in unexplained.iter().take(SHOWN) {
        let (at, Hurt { client, port, failure, .. }) = (hurt.at.as_secs_f64(), hurt);
        let _ = writeln!(text, "{at:9.3} {client} at port {port:?}: {failure:?}, after\n{}", journal.before(hurt.at));
    }
    assert!(unexplained.is_empty(), "{text}");
    hurts.len()
}

/// The clients' ports of the connections that a process holds. The process stands still meanwhile.
///
/// # Panics
/// If its descriptors may not be copied.
pub fn held_ports(process: &Pidfd, pid: i32) -> BTreeSet<u16> {
    let port = |file: OpenFile| match pidfd_getfd(process, file.number, PidfdGetfdFlags::empty()) {
        Ok(copy) => TcpStream::from(copy).peer_addr().ok().map(|peer| peer.port()),
        Err(Errno::PERM) => panic!("the connections of worker {pid} cannot be read: run this test as root"),
        Err(_) => None,
    };
    let files = open_files(pid).into_iter().flatten();
    files.filter(|file| file.socket().is_some()).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hurt(port: Option<u16>, since: u32, at: u32) -> Hurt {
        let (since, at) = (SECOND * since, SECOND * at);
        Hurt { at, since, port, client: "KeepAlive".to_owned(), failure: Failure::Reset }
    }

    fn death(at: u32, ports: &[u16]) -> Death {
        Death { at: SECOND * at, ports: ports.iter().copied().collect() }
    }

    #[test]
    fn the_death_of_the_worker_that_held_the_connection_explains_a_hurt_and_nothing_else_does() {
        let deaths = [death(3, &[1000, 1001]), death(8, &[2000])];
        assert!(is_explained(&hurt(Some(1000), 1, 4), &deaths));
        assert!(!is_explained(&hurt(Some(1002), 1, 4), &deaths), "another worker had it");
        assert!(!is_explained(&hurt(Some(1000), 4, 5), &deaths), "a later connection of the same port");
        assert!(!is_explained(&hurt(Some(2000), 1, 4), &deaths), "the death came later");
        assert!(!is_explained(&hurt(None, 1, 4), &deaths), "refused");
    }

    #[test]
    #[should_panic(expected = "1 of 2 hurts are not explained")]
    fn a_hurt_without_an_explanation_fails() {
        let mut journal = Journal::new(Instant::now());
        journal.deaths.push(death(3, &[1000]));
        judge(&journal, &[hurt(Some(1000), 1, 4), hurt(Some(1001), 1, 4)]);
    }

    #[test]
    fn the_connections_of_a_process_are_known_by_the_ports_of_their_clients() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let ports = held_ports(&Pidfd::open(own).unwrap().unwrap(), own);
        assert!(ports.contains(&client.local_addr().unwrap().port()), "{ports:?}");
    }
}
