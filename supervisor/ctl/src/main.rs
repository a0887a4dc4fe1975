//! gin-ctl: talks to a supervisor's control socket, waits, and tells the truth in its exit code.

mod cli;
mod client;
mod commands;
mod instance;
mod render;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.color.apply();
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
            anstream::eprintln!("{}error:{} {}", render::BAD, render::PLAIN, failure.text);
            ExitCode::from(failure.exit)
        }
    }
}
