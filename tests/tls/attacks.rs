//! What a client may do to TLS while its connection is handed over: half a record, a forged one, a change of keys that nobody has
//! answered yet, another handshake.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use harness::{Client, Supervisor, eventually};

use super::{addresses, clients, connect, with_https};
use crate::handover::{asks, is_new, until_new};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn half_a_record_is_waited_for_and_its_connection_goes_over_afterwards() {
    for number in 0..2 {
        let gin = with_https().start();
        let https = &clients(&gin)[number];
        // Within the record's head, at its end, and within its body.
        let mut halves: Vec<(Client, Vec<u8>)> = [1, 4, 5, 6, 20]
            .into_iter()
            .map(|cut| {
                let mut client = connect(https).unwrap();
                asks(&mut client);
                let mut record = client.tls().records(GET);
                let rest = record.split_off(cut);
                client.tls().send_raw(&record).unwrap();
                (client, rest)
            })
            .collect();
        gin.restart();
        for (client, rest) in &mut halves {
            client.tls().send_raw(rest).unwrap();
            let answer = client.response().unwrap_or_else(|failure| panic!("{failure:?}: {}", gin.log()));
            assert!(answer.status == 200 && !answer.closes(), "{answer:?}");
            until_new(&gin, client);
        }
        drop(halves);
        gin.stop();
    }
}

#[test]
fn many_requests_in_one_record_and_one_request_in_many_records_are_answered_over_a_restart() {
    for number in 0..2 {
        let gin = with_https().start();
        let https = &clients(&gin)[number];
        let (mut many, mut pieces) = (connect(https).unwrap(), connect(https).unwrap());
        // 500 requests are more than a read takes: the rest waits in s2n.
        many.send(&GET.repeat(500)).unwrap();
        let (first, second) = GET.split_at(GET.len() / 2);
        let records: Vec<u8> = first.iter().flat_map(|byte| pieces.tls().records(&[*byte])).collect();
        pieces.tls().send_raw(&records).unwrap();
        gin.restart();
        for _ in 0..500 {
            let answer = many.response().unwrap_or_else(|failure| panic!("{failure:?}: {}", gin.log()));
            assert!(answer.status == 200 && !answer.closes(), "{answer:?}");
        }
        pieces.send(second).unwrap();
        assert_eq!(pieces.response().unwrap().status, 200);
        for client in [&mut many, &mut pieces] {
            until_new(&gin, client);
        }
        drop((many, pieces));
        gin.stop();
    }
}

#[test]
fn a_client_hears_the_end_of_tls_from_whoever_ends_its_connection() {
    let gin = with_https().section("[timeouts]\nidle_grace = \"100ms\"").start();
    let connected = || addresses(&gin).map(|address| Client::connect(&address).unwrap());
    let (mut asked, mut resting) = (connected(), connected());
    // Some have asked, and others have shaken hands alone.
    for client in asked.iter_mut().chain(&mut resting[..1]) {
        asks(client);
    }
    gin.restart();
    for client in &mut asked {
        until_new(&gin, client);
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert!(client.response().unwrap().closes());
        // Without close_notify it is an error.
        assert_eq!(client.until_closed().unwrap(), b"");
    }
    let stop = gin.ctl_in_background(&["stop"]);
    for client in &mut resting {
        assert_eq!(client.until_closed().unwrap(), b"");
    }
    assert!(stop.wait_with_output().unwrap().status.success());
}

#[test]
fn a_forged_record_ends_its_connection_and_holds_no_drain_up() {
    // s2n waits for up to 30 s before it closes such a connection, unless it is told otherwise.
    let gin = with_https().section("[timeouts]\nidle_grace = \"1s\"\nshutdown = \"5s\"").start();
    for address in addresses(&gin) {
        let mut client = Client::connect(&address).unwrap();
        asks(&mut client);
        gin.restart();
        until_new(&gin, &mut client);
        // A record of application data that no key has made.
        let forged = [&[23, 3, 3, 0, 64][..], &[0x5a; 64]].concat();
        client.tls().send_raw(&forged).unwrap();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[" cut=0"]);
        client.get("/").unwrap_err();
    }
    asks(&mut Client::connect(&gin.https()).unwrap());
    gin.stop();
}

#[test]
fn what_is_no_tls_ends_its_connection_alone() {
    let gin = with_https().section("[timeouts]\nread = \"1s\"").start();
    let cleartext = |bytes: &[u8]| {
        let mut client = Client::connect(&gin.https_socket().to_string().as_str().into()).unwrap();
        client.send(bytes).unwrap();
        // A refusal, an alert or nothing, and the end: at once, or when no whole handshake has come in time.
        let _ = client.until_closed();
    };
    cleartext(GET);
    cleartext(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // A hello that is longer than it can be.
    cleartext(&[&[22, 3, 1, 0xff, 0xff][..], &[1; 1000]].concat());
    asks(&mut Client::connect(&gin.https()).unwrap());
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[" cut=0"]);
    gin.stop();
}

/// openssl as a client. It tells which messages come and go, and does what a line of one letter says: K changes its keys, R begins another
/// handshake.
struct Openssl {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Number of messages by which the server has changed its keys.
    updates: usize,
}

impl Openssl {
    fn start(gin: &Supervisor, version: &str) -> Self {
        let mut process = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &gin.https_socket().to_string(),
                "-servername",
                "localhost",
                version,
                "-msg",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, output, updates: 0 }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
    }

    /// The next line. `None`: it has ended.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let count = self.output.read_until(b'\n', &mut line).unwrap();
        let text = String::from_utf8_lossy(&line).into_owned();
        self.updates += usize::from(text.contains("<<< ") && text.contains("KeyUpdate"));
        (count > 0).then_some(text)
    }

    /// Reads on until a line has these parts.
    fn until(&mut self, parts: &[&str]) {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("openssl has ended before {parts:?}"));
            if parts.iter().all(|part| line.contains(part)) {
                return;
            }
        }
    }

    fn asks(&mut self) {
        self.say(GET);
        self.until(&["HTTP/1.1 200"]);
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_change_of_keys_that_a_client_has_asked_for_is_answered_by_the_next_worker() {
    let gin = with_https().start();
    let mut client = Openssl::start(&gin, "-tls1_3");
    for round in 1..=12 {
        // A line of its own: the server is asked to change its keys, too, with its next record.
        client.say(b"K\n");
        client.until(&[">>> ", "KeyUpdate"]);
        gin.restart();
        client.asks();
        assert!(client.updates >= round, "{} in round {round}", client.updates);
    }
    drop(client);
    gin.stop();
}

#[test]
fn a_client_that_begins_another_handshake_is_closed_before_and_after_a_handover() {
    let gin = with_https().start();
    for (has_asked, is_handed_over) in [(false, false), (true, false), (true, true)] {
        let mut client = Openssl::start(&gin, "-tls1_2");
        client.until(&["<<< ", "Finished"]);
        if has_asked {
            client.asks();
        }
        if is_handed_over {
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &[" cut=0"]);
            client.asks();
        }
        client.say(b"R\n");
        client.until(&[">>> ", "ClientHello"]);
        // openssl ends with its connection, which does not look like one that ended in good order.
        while let Some(line) = client.line() {
            assert!(!line.contains("ServerHello"), "{line}");
            assert!(!line.contains("<<<") || !line.contains("close_notify"), "{line}");
        }
        // testssl.sh takes an end that looks orderly for another handshake that was made.
        assert_ne!(client.process.wait().unwrap().code(), Some(0), "{has_asked} {is_handed_over}");
        drop(client);
        asks(&mut Client::connect(&gin.https()).unwrap());
    }
    gin.stop();
}

#[test]
fn a_client_that_changes_its_keys_over_and_over_goes_over_with_the_newest() {
    let gin = with_https().start();
    let [_, newer] = clients(&gin);
    let mut client = connect(&newer).unwrap();
    for _ in 0..5 {
        for _ in 0..3 {
            client.tls().change_keys();
            asks(&mut client);
        }
        // Not sent yet: the change comes with the first request to the next worker.
        client.tls().change_keys();
        gin.restart();
        let asked = || asks(&mut client);
        eventually("a worker of the current generation answers", asked, |pid| is_new(&gin, *pid));
    }
    drop(client);
    gin.stop();
}
