//! `gin-ctl status`

use std::path::Path;
use std::time::Duration;

use gin_shared::exit;
use gin_shared::status::Status;

use super::print_json;
use crate::client::Client;
use crate::failure::Failure;
use crate::left;
use crate::render::status::{Processes, json as json_of, print};
use crate::render::{BAD, PLAIN, journal};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// One look.
pub(super) async fn once(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut status: Status = client.get("/v1/status").await?;
    status.last_upgrade.iter_mut().for_each(journal::complete);
    if json {
        print_json(&json_of(&status, &mut Processes::new()));
    } else {
        print(&status, &mut Processes::new());
    }
    Ok(code(&status))
}

/// Again and again, until Ctrl-C or the supervisor's end.
pub(super) async fn watch(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut processes = Processes::new();
    loop {
        let status: Status = client.get("/v1/status").await?;
        if json {
            crate::say!("{}", json_of(&status, &mut processes));
        } else {
            crate::show!("\x1b[H\x1b[2J");
            print(&status, &mut processes);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(code(&status)),
        }
    }
}

/// Without a supervisor: what one has left.
pub(super) fn or_left(
    shown: Result<u8, Failure>,
    socket: Option<&Path>,
    instance: Option<&str>,
    json: bool,
) -> Result<u8, Failure> {
    let failure = match shown {
        Err(failure) if failure.exit == exit::NO_SUPERVISOR => failure,
        other => return other,
    };
    let left = left::find(socket, instance).ok_or(failure)?;
    if json {
        print_json(&left.json());
    } else {
        let name = left.instance();
        crate::say!("{BAD}●{PLAIN} {name}  {BAD}{}{PLAIN}", left.sentence());
        let which = socket.map_or_else(|| format!("stop {name}"), |socket| format!("-s {} stop", socket.display()));
        crate::say!("  gin-supervisor, started again, adopts them; gin-ctl {which} ends them");
    }
    Ok(exit::NO_SUPERVISOR)
}

fn code(status: &Status) -> u8 {
    if status.degraded || status.crash_loop { exit::FAILED } else { exit::DONE }
}
