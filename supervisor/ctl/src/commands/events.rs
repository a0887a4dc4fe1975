//! `gin-ctl events`

use gin_shared::control::EventLine;
use gin_shared::exit;
use gin_shared::status::Status;

use crate::client::{Client, Lines, plainly};
use crate::failure::Failure;
use crate::render::{DIM, PLAIN, time};

/// Until Ctrl-C, or the supervisor's end.
pub(super) async fn follow(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut lines = Lines::new(client.stream("/v1/events").await?);
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            _ = tokio::signal::ctrl_c() => return Ok(exit::DONE),
        };
        let Some(line) = line else {
            // Another program may have taken the supervisor's place; some events were missed then.
            match client.get::<Status>("/v1/status").await {
                Ok(_) => lines = Lines::new(client.stream("/v1/events").await?),
                Err(_) => return Ok(exit::NO_SUPERVISOR),
            }
            continue;
        };
        let Some(data) = line.strip_prefix("data: ") else { continue };
        match plainly::<EventLine>(data.as_bytes()) {
            Ok(event) if !json => print(&event),
            _ => crate::say!("{data}"),
        }
    }
}

fn print(event: &EventLine) {
    let part = |name: &str, value: Option<String>| value.map(|value| format!(" {name}={value}")).unwrap_or_default();
    let generation = part("generation", event.generation.map(|generation| generation.to_string()));
    let slot = part("slot", event.slot.map(|slot| slot.to_string()));
    let pid = part("pid", event.pid.map(|pid| pid.to_string()));
    crate::say!("{DIM}{}{PLAIN} {}{DIM}{generation}{slot}{pid}{PLAIN}", time(event.at_ms), event.text);
}
