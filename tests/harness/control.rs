//! gin-ctl and the control API, as tests use them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use gin_shared::control::EventLine;
use gin_shared::status::Status;

use crate::{PATIENCE, binary};

/// What a gin-ctl said, and its exit code.
#[derive(Debug, Clone)]
pub struct Ctl {
    /// The exit code.
    pub code: i32,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

impl Ctl {
    /// Runs `gin-ctl -s SOCKET ARGS...` to its end.
    ///
    /// # Panics
    /// If it cannot be run or a signal ends it.
    #[must_use]
    pub fn run(socket: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "120"]).arg(binary("gin-ctl")).arg("-s").arg(socket).args(args);
        let ctl = Self::from(command.stdin(Stdio::null()).output().unwrap());
        assert_ne!(ctl.code, 124, "gin-ctl {args:?} does not end: {ctl:?}");
        ctl
    }

    /// It said this somewhere, and exited so.
    ///
    /// # Panics
    /// If not.
    pub fn assert(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.out.contains(part) || self.err.contains(part), "no {part:?} in {self:?}");
        }
    }
}

impl From<Output> for Ctl {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().expect("gin-ctl exits");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The events stream.
#[derive(Debug)]
pub struct Events(BufReader<UnixStream>);

impl Events {
    /// From now on.
    ///
    /// # Panics
    /// If the supervisor does not answer.
    #[must_use]
    pub fn follow(socket: &Path) -> Self {
        Self::begin(socket).expect("the supervisor answers")
    }

    /// The same; none if the supervisor ends meanwhile.
    pub(crate) fn begin(socket: &Path) -> Option<Self> {
        let mut reader = try_request(socket, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        Some(Self(reader))
    }

    /// Until an event contains `part`, or there are no more.
    pub(crate) fn until_or_end(self, part: &str) {
        let _ = self.0.lines().map_while(Result::ok).find(|line| line.contains(part));
    }

    /// Until an event contains `part`.
    ///
    /// # Panics
    /// If none does.
    pub fn until(&mut self, part: &str) -> EventLine {
        self.find(part, |event| event.text.contains(part))
    }

    /// Until one of generation `generation` does.
    ///
    /// # Panics
    /// If none does.
    pub fn until_of(&mut self, generation: u64, part: &str) -> EventLine {
        let ours = |event: &EventLine| event.generation.is_some_and(|g| g.0 == generation);
        self.find(part, |event| ours(event) && event.text.contains(part))
    }

    fn find(&mut self, part: &str, is_it: impl Fn(&EventLine) -> bool) -> EventLine {
        let mut seen = Vec::new();
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "no event {part:?}; seen {seen:#?}");
            let mut line = String::new();
            let count =
                self.0.read_line(&mut line).unwrap_or_else(|e| panic!("no event {part:?}: {e}; seen {seen:#?}"));
            assert!(count > 0, "the stream ended before {part:?}; seen {seen:#?}");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: EventLine = serde_json::from_str(data).unwrap();
            if is_it(&event) {
                return event;
            }
            seen.push(event.text);
        }
    }
}

/// Sends a request to the control socket; gives what comes back.
pub(crate) fn request(socket: &Path, request: &str) -> BufReader<UnixStream> {
    try_request(socket, request).unwrap()
}

fn try_request(socket: &Path, request: &str) -> std::io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    Ok(BufReader::new(stream))
}

/// `GET /v1/status`
pub(crate) fn status(socket: &Path) -> Status {
    let mut reader = request(socket, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").expect("a response");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
}
