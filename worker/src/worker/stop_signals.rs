//! Signals that ask a worker to stop.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal to stop, as it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopSignal {
    /// SIGINT of a process at a terminal: somebody has typed Ctrl-C, and waits for the end.
    CtrlC,
    /// Any other.
    Other,
}

impl StopSignal {
    /// SIGINT, as this process gets it.
    fn interrupt() -> Self {
        if io::stdin().is_terminal() && io::stderr().is_terminal() { Self::CtrlC } else { Self::Other }
    }
}

/// SIGTERM, SIGINT and SIGQUIT.
pub(super) struct StopSignals([Signal; 3]);

impl StopSignals {
    pub(super) fn new() -> io::Result<Self> {
        let caught = |kind| signal(kind);
        Ok(Self([caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?, caught(SignalKind::quit())?]))
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> StopSignal {
        let [term, int, quit] = &mut self.0;
        tokio::select! {
            _ = term.recv() => StopSignal::Other,
            _ = int.recv() => StopSignal::interrupt(),
            _ = quit.recv() => StopSignal::Other,
        }
    }
}

/// Signals that were counted: asked twice, a worker stops at once. One signal on top of the master's order does not count as the
/// second, for a service manager sends it to every process of the service.
pub(super) struct Impatience<'a> {
    pub(super) stop: &'a mut StopSignals,
    pub(super) signals: u32,
}

impl Impatience<'_> {
    /// Waits for the second signal.
    pub(super) async fn grows(&mut self) {
        while self.signals < 2 {
            self.stop.next().await;
            self.signals += 1;
        }
    }
}
