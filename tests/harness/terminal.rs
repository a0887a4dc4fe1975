//! A program whose stderr is a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PATIENCE;

/// A program at a terminal, until it is dropped: then it gets SIGTERM, and its end is waited for.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    lines: Receiver<String>,
}

impl Terminal {
    /// Starts it. Colours are wanted, unless the command sets NO_COLOR.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let terminal = openpty(None, None).unwrap();
        if !command.get_envs().any(|(name, _)| name == "NO_COLOR") {
            command.env_remove("NO_COLOR");
        }
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.slave);
        let child = command.spawn().unwrap();
        // It keeps the program's end of the terminal open.
        drop(command);
        let (sender, lines) = channel();
        // Read to the end, or the program would stand still.
        std::thread::spawn(move || {
            for line in BufReader::new(File::from(terminal.master)).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line that contains `part`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn until(&self, part: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line at the terminal has {part:?}: {error}; seen {seen:#?}"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
