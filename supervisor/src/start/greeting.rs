//! The first words of a master that serves: a banner for a person at a terminal, log lines elsewhere.

use std::io::{self, IsTerminal};

use gin_shared::status::Status;

use crate::banner;
use crate::cli::Cli;
use crate::reporter::Boot;
use crate::telemetry;

/// The kind of greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A banner with a hint at what to try: neither configuration nor command was given.
    Demo,
    /// A banner.
    Banner,
    /// Log lines.
    Log,
}

impl Greeting {
    /// The greeting for whoever started the program. A person that was greeted already gets log lines.
    pub(super) fn of(cli: &Cli, in_place: bool) -> Self {
        let person = io::stdout().is_terminal() && io::stderr().is_terminal();
        match person && !in_place {
            true if cli.config.is_none() && cli.command.is_empty() => Self::Demo,
            true => Self::Banner,
            false => Self::Log,
        }
    }

    /// The function to call when the first generation serves.
    pub(super) fn on_boot(self) -> fn(&Status, Boot) {
        match self {
            Self::Demo => |status, boot| greet(status, boot, true),
            Self::Banner => |status, boot| greet(status, boot, false),
            Self::Log => log,
        }
    }
}

fn greet(status: &Status, boot: Boot, demo: bool) {
    banner::print(status, boot, demo);
    telemetry::set_level("info");
}

fn log(status: &Status, boot: Boot) {
    for listener in &status.listeners {
        tracing::info!(name = listener.name, address = listener.address, "listening on {}", listener.address);
    }
    let Status { pid_file, control, .. } = status;
    match boot {
        Boot::Served { took_ms } => tracing::info!(took_ms, pid_file, control, "serving"),
        Boot::Adopted { workers, .. } => tracing::info!(workers, pid_file, control, "serving"),
    }
}
