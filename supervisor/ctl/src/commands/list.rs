//! `gin-ctl list`

use std::path::Path;

use gin_shared::exit;
use gin_shared::status::Status;

use super::print_json;
use crate::client::Client;
use crate::failure::Failure;
use crate::instance::{Instance, directories, of};
use crate::left;
use crate::render::status::state;
use crate::render::{print_table, table};

/// All instances that answer, or the one of `socket`; those that cannot be asked are named, too.
pub(super) async fn list(socket: Option<&Path>, json: bool) -> Result<u8, Failure> {
    let (mut found, mut rows) = (Vec::new(), table(&["NAME", "STATE", "MASTER", "GEN", "WORKERS", "LISTENING"]));
    let (directories, doubts) = if socket.is_none() { directories() } else { Default::default() };
    for doubt in &doubts {
        crate::complain!("passed over: {doubt}");
    }
    let instances = socket.map_or_else(|| of(&directories), |socket| vec![Instance::from_socket(socket)]);
    for instance in instances {
        match Client::new(&instance).get::<Status>("/v1/status").await {
            Ok(status) => {
                let generation = status.generations.first();
                let serving = generation.map_or(0, |g| g.workers.iter().filter(|w| w.state == "serving").count());
                let addresses: Vec<&str> = status.listeners.iter().map(|l| l.address.as_str()).collect();
                rows.add_row(vec![
                    status.instance.clone(),
                    state(&status).1.to_owned(),
                    status.pid.to_string(),
                    generation.map_or_else(|| "-".to_owned(), |g| g.generation.to_string()),
                    format!("{serving}/{}", status.workers),
                    addresses.join(" "),
                ]);
                found.push(status);
            }
            Err(failure) => {
                rows.add_row(vec![instance.name, failure.text]);
            }
        }
    }
    let left = socket.map_or_else(left::all, |socket| left::find(Some(socket), None).into_iter().collect());
    for one in &left {
        let pids: Vec<String> = one.pids().iter().map(ToString::to_string).collect();
        rows.add_row(vec![
            one.instance().to_owned(),
            "no supervisor".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            pids.len().to_string(),
            format!("workers {}", pids.join(", ")),
        ]);
    }
    if json {
        let found = found.iter().filter_map(|status| serde_json::to_value(status).ok());
        let found: Vec<serde_json::Value> = found.chain(left.iter().map(left::Orphaned::json)).collect();
        print_json(&found);
    } else {
        print_table(&rows);
    }
    Ok(exit::DONE)
}
