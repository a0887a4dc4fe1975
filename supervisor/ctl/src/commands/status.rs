//! `gin-ctl status`

use std::time::Duration;

use gin_shared::exit;
use gin_shared::status::Status;

use super::print_json;
use crate::client::{Client, Failure};
use crate::render::status::{Processes, print};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// One look.
pub(super) async fn once(client: &Client, json: bool) -> Result<u8, Failure> {
    let status: Status = client.get("/v1/status").await?;
    if json {
        print_json(&status);
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
            crate::say!("{}", serde_json::to_string(&status).unwrap_or_default());
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

fn code(status: &Status) -> u8 {
    if status.degraded { exit::FAILED } else { exit::DONE }
}
