//! gin-ctl: talks to a supervisor's control socket, waits, and tells the truth in its exit code.

mod cli;
mod client;
mod commands;
mod failure;
mod instance;
mod left;
mod output;
mod render;
mod socket;

use std::process::ExitCode;

use clap::Parser;

pub(crate) use output::{complain, say, show};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.color.apply();
    let socket = cli.socket.clone();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(gin_shared::exit::FAILED);
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let left = match &socket {
                _ if failure.exit != gin_shared::exit::NO_SUPERVISOR => Vec::new(),
                Some(socket) => left::find(Some(socket), None).into_iter().collect(),
                None => left::all(),
            };
            crate::complain!("{}error:{} {}", render::BAD, render::PLAIN, failure.text);
            for one in left {
                crate::complain!(
                    "  {}: {}; gin-supervisor, started again, adopts them",
                    one.instance(),
                    one.sentence()
                );
            }
            ExitCode::from(failure.exit)
        }
    }
}
