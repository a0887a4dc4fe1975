//! The master: holds the listeners, the PID file and the control socket; starts, gates, drains and retires workers of any
//! language.
//!
//! > A reload loses no request, refuses no connection and closes no connection that could have been kept. If the new
//! > version is not fit to serve, nothing changes and the command that asked for it says so.
//!
//! | you want | go to |
//! |---|---|
//! | the start, step by step | [`start`] |
//! | what can happen, and what follows | [`machine`] |
//! | the loop | [`driver`], with [`store`], [`workers`], [`generations`], [`reporter`] |
//! | what reaches the loop | [`inbox`] |
//! | what talks to the kernel | [`os`] |
//! | what runs between fork and the worker | [`exec_helper`] |
//! | keys and flags | [`config`], [`cli`] |
//! | certificates | [`certificates`] |
//! | which worker has too many connections | [`balance`] |
//! | commands | [`control`] |
//! | the supervisor's own metrics | [`samples`] |
//! | what outlives the master | [`state`], [`adopt`] |

pub mod adopt;
pub mod balance;
mod banner;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod control;
pub mod descriptor_name;
pub mod driver;
pub mod error_text;
pub mod exec_helper;
pub mod exit_status;
pub mod failed_start;
pub mod generations;
pub mod inbox;
pub mod instance_files;
pub mod listener_name;
pub mod machine;
pub mod moment;
pub mod os;
pub mod os_text;
pub mod private_client;
pub mod reporter;
pub mod samples;
pub mod socket_record;
pub mod start;
pub mod state;
pub mod store;
mod task;
mod telemetry;
pub mod view;
pub mod watched;
pub mod worker_count;
pub mod workers;

use std::process::ExitCode;

use cli::Cli;

/// Runs the program: as the exec helper, as a check of the configuration, or as the master.
#[must_use]
pub fn run() -> ExitCode {
    if exec_helper::is_helper() {
        return exec_helper::run();
    }
    os::signal::forget_ignored();
    let cli = Cli::of_process();
    let is_check = cli.config_check;
    let outcome = if is_check { start::check(&cli) } else { start::run(cli) };
    outcome.unwrap_or_else(|error| {
        // Straight to stderr: it is the last word and must not be lost.
        error.print();
        if !is_check {
            os::sd_notify::tell_last_words(&error.to_string());
        }
        ExitCode::from(error.exit())
    })
}
